// One task's folder under /proc, held open.
//
// The descriptor pins the task's identity: if the task dies and its number is reused, names under the old folder fail
// instead of answering for the newcomer. The kernel then says ENOENT for every name; methods turn that into Died when
// even `stat` is gone, so that a missing optional file and a missing task are told apart.
#pragma once

#include "base/ids.hh"
#include "criu/kernel/io.hh"

#include <string>
#include <vector>

namespace kernel {

class ProcDir {
public:
    /// /proc/PID. Errors: Died if there is no such process.
    static Result<ProcDir> open(base::Pid pid);
    /// /proc/PID/task/TID of a thread of this process.
    Result<ProcDir> open_thread(base::Pid tid) const;

    base::Pid pid() const { return pid_; }
    int fd() const { return fd_.get(); }

    Result<std::string> read_file(const char *name) const;
    /// As above into a buffer that the caller reuses from task to task.
    Result<void> read_file(const char *name, std::string &out) const;
    Result<std::string> read_link(const char *name) const;
    Result<base::UniqueFd> open_file(const char *name, int flags) const;

    /// Thread ids, ascending. Threads may come and go meanwhile unless the process is stopped.
    Result<std::vector<base::Pid>> list_tasks() const;
    /// Open descriptor numbers, ascending.
    Result<std::vector<int>> list_fds() const;

private:
    ProcDir(base::Pid pid, base::UniqueFd fd) : pid_(pid), fd_(std::move(fd)) {}
    base::Error explain(base::Error error) const;
    Result<std::vector<int>> list_numbers(const char *name) const;

    base::Pid pid_;
    base::UniqueFd fd_;
};

/// Children of all threads of a process, as far as they can be seen while it runs; none if it is gone.
std::vector<base::Pid> children_of(base::Pid pid);

/// Numeric names in an open folder, ascending; the descriptor is consumed.
Result<std::vector<int>> list_numeric_entries(base::UniqueFd dir);

} // namespace kernel
