// The network namespaces that the tasks of a tree live in, for a dump: what is asked about a socket is asked inside of
// its own, where names of devices and the kernel's lists of sockets mean what they mean to it.
#pragma once

#include "base/result.hh"
#include "base/unique_fd.hh"
#include "criu/tree/namespaces.hh"

#include <functional>
#include <vector>

namespace resource {

using base::Result;

class Networks {
public:
    /// The calling thread is in the root task's, and stays there until enter().
    static Result<Networks> open(const tree::Namespaces &namespaces);

    /// The image's number of the one that a socket is of, or a tun device. Errors: Unsupported where no task lives in
    /// it.
    Result<uint32_t> of(int socket) const;
    /// The calling thread goes there. Nothing to do where it is already.
    Result<void> enter(uint32_t id);
    Result<void> go_home() { return enter(home_); }
    /// Runs `body` in each of them, and comes back to where the thread is.
    Result<void> in_each(const std::function<Result<void>(uint32_t id)> &body);

    uint32_t current() const { return current_; }
    uint32_t home() const { return home_; }
    /// A task that lives in the one where the thread is.
    base::Pid member() const;
    bool several() const { return all_.size() > 1; }

private:
    struct One {
        uint32_t id = 0;
        uint64_t inode = 0;
        base::Pid member{};
        base::UniqueFd fd{}; ///< absent where there is only one
    };
    std::vector<One> all_; ///< the root task's first
    uint32_t home_ = 0, current_ = 0;
};

} // namespace resource
