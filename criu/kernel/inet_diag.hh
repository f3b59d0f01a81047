// Internet sockets as the kernel lists them (SOCK_DIAG): also those that no descriptor leads to yet, and facts that
// getsockopt(2) does not tell.
#pragma once

#include "base/result.hh"

#include <array>
#include <cstdint>
#include <vector>

namespace kernel {

using base::Result;

struct InetSocketFacts {
    uint32_t inode = 0; ///< 0: not accepted yet
    uint8_t family = 0, state = 0;
    uint8_t shutdown = 0; ///< 1: receiving, 2: sending
    std::array<uint8_t, 16> local{}, peer{};
    uint16_t local_port = 0, peer_port = 0; ///< host order
    uint32_t interface = 0;
    uint32_t received = 0; ///< bytes that wait to be read; of a listening socket: connections
    uint32_t unsent = 0;
};

/// All sockets of a family and protocol whose state is among `states` (1 << TCP_...), in the network namespace of the
/// caller. Empty where the kernel does not list the protocol.
Result<std::vector<InetSocketFacts>> list_inet_sockets(int family, int protocol, uint32_t states);

/// Ends what is left of connections whose sockets are closed (TIME_WAIT and the states before it) and that hold a local
/// TCP port. Returns how many there were; 0 where the kernel cannot do it.
Result<size_t> destroy_remains(uint16_t local_port);

} // namespace kernel
