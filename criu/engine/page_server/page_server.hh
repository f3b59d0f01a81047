// criu page-server: takes memory from a dump elsewhere into a directory, or (--lazy-pages) gives a lazy restore
// elsewhere the memory of one. One peer, then it ends.
#pragma once

#include "base/log.hh"
#include "criu/engine/notifier.hh"
#include "criu/engine/request.hh"

#include <functional>

namespace page_server {

using base::Result;

/// Somebody can connect already.
class Server {
public:
    /// Errors: System, Usage, naming address and port.
    static Result<Server> open(const engine::PageServerRequest &request);

    /// Where it listens; 0 with a given socket.
    uint16_t port() const { return listening_ ? listening_->port : 0; }
    /// Serves one peer. Errors: what the peer did wrong, or that it went before the end.
    Result<void> serve(const engine::PageServerRequest &request, base::Log &log);

private:
    Server() = default;
    std::optional<pages::Listening> listening_;
    base::UniqueFd given_;
};

/// How a server of its own is related to the one who starts it.
enum class Kinship : uint8_t { Child, Daemon };

struct Started {
    base::Pid pid;
    uint16_t port = 0; ///< 0 with a given socket
};

/// Starts one in a process of its own. Somebody can connect when this returns. `in_child` runs there first.
Result<Started> start(const engine::PageServerRequest &request, Kinship kinship, base::Log &log,
                      const std::function<void()> &in_child);

/// From the first to the last, in the background if it is asked for: then it returns at once, and the pid file has the
/// server's pid.
Result<void> run(const engine::PageServerRequest &request, engine::Notifier &notifier, base::Log &log);

} // namespace page_server
