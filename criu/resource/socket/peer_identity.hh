// A socket remembers the process that connected it, or made it listen: SO_PEERCRED tells its pid, user and groups, and
// nothing can change them later. The kernel takes them from whoever makes the call. So the call is made by a process
// that has this pid and these ids for a moment; tasks of the tree do not exist yet when files are opened, their pids
// are free. It shares our table of descriptors.
#pragma once

#include "base/log.hh"
#include "base/result.hh"
#include "images_pb.hh"

#include <functional>
#include <vector>

namespace resource {

struct Identity {
    uint32_t pid = 0; ///< 0: any
    uint32_t uid = 0, gid = 0;
    std::vector<uint32_t> groups;

    auto operator<=>(const Identity &) const = default;
};

Identity own_identity();
/// Absent credentials: our own.
Identity identity_of(bool present, const img::ext_credentials &credentials);

/// Runs `work`, which may make system calls and write to memory that is shared. If the pid is taken by a process
/// outside of the tree, `work` runs with another.
base::Result<void> run_as(base::Log &log, const Identity &identity, const std::function<base::Result<void>()> &work);

/// Memory that processes made by run_as() can write to.
class SharedNumbers {
public:
    static base::Result<SharedNumbers> make(size_t count);
    SharedNumbers(SharedNumbers &&other) noexcept
        : numbers_(std::exchange(other.numbers_, nullptr)), count_(other.count_) {}
    SharedNumbers &operator=(SharedNumbers &&) = delete;
    ~SharedNumbers();
    int &operator[](size_t i) { return numbers_[i]; }

private:
    SharedNumbers(int *numbers, size_t count) : numbers_(numbers), count_(count) {}
    int *numbers_;
    size_t count_;
};

} // namespace resource
