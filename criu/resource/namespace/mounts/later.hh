// Mounts that can be made or attached only when a pid namespace is there: proc file systems that show it, and what lies
// on them. Made by whoever has forked its init.
#pragma once

#include "base/result.hh"
#include "base/unique_fd.hh"

#include <string>
#include <string_view>
#include <sys/mount.h>

namespace resource::mounts {

using base::Result;

struct LaterMount {
    uint32_t awaits = 0; ///< number of the pid namespace
    std::string name;    ///< for errors
    std::string place;   ///< path in its mount namespace
    size_t tree = 0;     ///< step of the plan that is the root of that
    size_t table = 0;    ///< place of that namespace in the plan; 0: the root task's
    std::string part;    ///< of a proc file system: what it shows of it
    mount_attr attributes{};
    std::string options;  ///< of the proc file system
    base::UniqueFd mount; ///< what lies on one, detached; none: it is one itself
    base::UniqueFd space; ///< the mount namespace
};

/// A proc file system of the pid namespace that the caller is in, attached nowhere.
Result<base::UniqueFd> make_proc(std::string_view options);

/// Once for each, in their order. `proc`: what make_proc() has made.
Result<void> attach_later(const LaterMount &later, int proc);

} // namespace resource::mounts
