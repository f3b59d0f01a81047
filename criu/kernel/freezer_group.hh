// The freezer of a control group, version 1 or 2: everybody in it stands still, also those that are made meanwhile.
//
// A group that we have frozen must not stay so if we are killed: a process of its own waits for that, and lets it go.
#pragma once

#include "base/result.hh"
#include "base/unique_fd.hh"

#include <string>
#include <sys/types.h>

namespace kernel {

using base::Result;

class FreezerGroup {
public:
    /// Freezes the group and waits until it is. It may be frozen already. `timeout_ms` -1: as long as it takes.
    /// Errors: System; Busy if it does not come to rest.
    static Result<FreezerGroup> freeze(const std::string &directory, int timeout_ms);
    FreezerGroup(FreezerGroup &&other) noexcept;
    FreezerGroup &operator=(FreezerGroup &&) = delete;
    /// Leaves the group as it was found.
    ~FreezerGroup();

    /// Lets it go, for as long as its tasks are held otherwise. A second call does nothing.
    void thaw();

private:
    explicit FreezerGroup(base::UniqueFd directory) : directory_(std::move(directory)) {}
    const char *file() const { return version2_ ? "cgroup.freeze" : "freezer.state"; }
    Result<bool> is_frozen() const;
    Result<void> set(bool frozen) const;
    Result<void> post_guard();
    void dismiss_guard();

    base::UniqueFd directory_;
    base::UniqueFd leash_; ///< the guard sees it close
    pid_t guard_ = 0;
    bool version2_ = false, was_frozen_ = false, frozen_ = false;
};

} // namespace kernel
