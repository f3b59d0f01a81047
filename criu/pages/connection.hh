// How two ends of a page connection find each other: --address, --port, --ps-socket.
#pragma once

#include "base/log.hh"
#include "criu/pages/channel.hh"

#include <cstdint>
#include <optional>
#include <string>

namespace pages {

/// What the user says of the connection.
struct Endpoint {
    std::string address; ///< a name or number; empty: this machine
    uint16_t port = 0;   ///< 0: the kernel chooses (of a listener)
    int socket = -1;     ///< connected already, the caller's; address and port do not count then
};

/// Connects. Errors: System, naming address and port; Usage without a port.
Result<base::UniqueFd> connect_to(const Endpoint &where);

/// A socket that waits for one peer.
struct Listening {
    base::UniqueFd socket;
    uint16_t port = 0; ///< the one chosen
};
/// Errors: System, naming address and port.
Result<Listening> listen_at(const Endpoint &where);
/// Waits for the peer; nothing else is accepted afterwards.
Result<base::UniqueFd> accept_one(Listening &listening);

/// A duplicate of a socket that the caller has given. Errors: Usage if it is no stream socket.
Result<base::UniqueFd> given_socket(int fd);

/// Small messages are sent together with what follows them, until push().
void gather(int socket);
/// Sends at once what has been gathered: the answer to it is waited for. Both do nothing on sockets other than TCP's.
void push(int socket);

} // namespace pages
