// Unix sockets as the kernel lists them (SOCK_DIAG): names, peers and queues, which getsockopt(2) does not tell.
#pragma once

#include "base/result.hh"

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace kernel {

using base::Result;

struct UnixSocket {
    uint32_t inode = 0; ///< of the socket itself
    uint8_t type = 0;   ///< SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET
    uint8_t state = 0;  ///< TCP_ESTABLISHED, TCP_CLOSE or TCP_LISTEN
    uint8_t shutdown = 0;
    std::string name; ///< as in sun_path, a path's final zero included; empty: not bound
    std::optional<std::pair<uint32_t, uint32_t>> file; ///< device and inode of the file that it is bound to
    std::optional<uint32_t> peer;                      ///< inode of the peer; 0: nobody has the peer open
    std::vector<uint32_t> waiting; ///< listening: inodes of the clients that were not accepted yet, oldest first
    uint32_t receive_queue = 0;    ///< bytes that wait (datagrams: of the first), or number of clients that wait
    uint32_t send_queue = 0;       ///< memory of what others have not yet read, or backlog
};

/// All unix sockets by inode. Those that wait to be accepted have none and are left out.
Result<std::unordered_map<uint32_t, UnixSocket>> unix_sockets();

} // namespace kernel
