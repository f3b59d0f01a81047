// What is done to other people's connections must not outlive us: repair mode makes a socket mute, the network lock
// makes everybody else mute. A small process of our own holds the sockets as well, and takes both back when the tool
// dies. It lives in a session and, where it may, control group of its own, so that what ends the tool's (a unit that is
// stopped, memory that is used up) does not end it too.
#pragma once

#include "base/ids.hh"
#include "base/result.hh"
#include "base/unique_fd.hh"
#include "criu/kernel/network_lock.hh"

#include <span>
#include <string>

namespace resource {

using base::Pid;
using base::Result;

struct WatchedSocket {
    int fd = -1;
    bool reuse_address = false;
};

class TcpWatchdog {
public:
    TcpWatchdog() = default;
    TcpWatchdog(TcpWatchdog &&other) noexcept;
    TcpWatchdog &operator=(TcpWatchdog &&) = delete;
    ~TcpWatchdog(); ///< as the end of the tool: whether the tree lives decides what happens

    /// From here on, when the tool ends without dismiss(): if `root` is alive then, the sockets leave repair mode and
    /// the locks are released. If it is not, everything stays as it is: that is how a dump ends.
    static Result<TcpWatchdog> start(std::span<const WatchedSocket> sockets, std::span<kernel::HeldNetworkLock> locks,
                                     Pid root);
    /// The tree is about to be killed: it may be dying when the tool ends.
    void killing();
    /// Everything was taken back already.
    void dismiss();

private:
    void wait();
    base::UniqueFd line_;
    pid_t pid_ = -1;
};

} // namespace resource
