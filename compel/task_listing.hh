// Who there is: threads, children and states, as /proc tells. The freezer lies below the layer of /proc parsers and
// needs these facts only.
#pragma once

#include "base/ids.hh"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace compel {

using base::Pid;

/// A file's text, as far as it can be read.
std::string slurp(const std::string &path);

/// Of struct task_struct (PF_...); 0 when the thread is gone.
unsigned flags_of(Pid pid, Pid tid);

/// The leader first, the others by number. Without those that the kernel has made (io_uring, vhost).
std::vector<Pid> threads_of(Pid pid);

struct Stat {
    char state = 0; ///< 0: the thread is gone
    Pid parent;
};
Stat stat_of(Pid pid, Pid tid);

struct Child {
    Pid pid;
    Pid thread; ///< that has forked it; 0 where only the process is known
};

/// Finds the children of the processes of one scan.
class ChildFinder {
public:
    std::vector<Child> children_of(Pid pid, const std::vector<Pid> &tids);

private:
    const std::multimap<Pid, Pid> &all();
    bool has_any(Pid pid) { return all().contains(pid); }

    std::optional<std::multimap<Pid, Pid>> all_;
};

} // namespace compel
