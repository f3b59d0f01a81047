// The state of a TCP connection that TCP_REPAIR shows and sets: sequence numbers, windows, negotiated options, both
// queues.
//
// A socket in repair mode neither sends nor tells its peer when it is closed. Leaving that mode clears SO_REUSEADDR
// (the kernel uses the field meanwhile), so whoever leaves it has to know what it was.
#pragma once

#include "base/result.hh"
#include "criu/resource/socket/inet/inet_address.hh"
#include "criu/resource/socket/peek_guard.hh"
#include "images_pb.hh"

#include <cstddef>
#include <netinet/tcp.h>
#include <span>
#include <string>
#include <vector>

namespace resource {

using base::Result;

Result<tcp_info> tcp_info_of(int fd);
Result<void> enter_repair(int fd);
/// Back to normal without a packet.
Result<void> leave_repair_silently(int fd, bool reuse_address);
/// Back to normal; the peer is asked for the state of its window, which makes data flow again.
Result<void> leave_repair(int fd, bool reuse_address);

/// What has gone over a connection in states beyond ESTABLISHED. Sequence numbers count the ends of both directions.
struct TcpPhase {
    bool connected = false;    ///< has a peer
    bool end_received = false; ///< the peer's FIN
    bool end_sent = false;     ///< our FIN is in the queue or on its way
    bool end_acked = false;    ///< and was acknowledged
};
TcpPhase phase_of(uint32_t state);
const char *tcp_state_name(uint32_t state);

struct TcpStream {
    img::tcp_stream_entry entry;
    std::vector<std::byte> queues; ///< in, then out
};

/// Reads a connection. The socket is in repair mode for as long as this takes, and must not receive or send meanwhile.
/// Errors: Unsupported with the reason.
Result<TcpStream> read_tcp_stream(PeekGuard &guard, int fd, uint32_t state, bool reuse_address);
/// Data that waits to be read, without repair mode: of sockets whose connection is over.
Result<std::string> peek_received(int fd);

/// Connects a socket in repair mode without a packet, fills its queues with what had arrived and what was sent, and
/// leaves it in repair mode. It is bound already, or gets its address by this.
Result<void> rebuild_tcp_stream(const kernel::Outside &outside, int fd, const TcpStream &stream, const TcpPhase &phase,
                                const Endpoint &local, const Endpoint &peer);
/// Queues what was not sent yet, and the end of our direction.
Result<void> finish_tcp_stream(int fd, const TcpStream &stream, const TcpPhase &phase);
/// The first and last sequence numbers of the entry as a connection in ESTABLISHED would have them.
struct TcpNumbers {
    uint32_t in_end = 0, out_begin = 0, out_end = 0;
};
TcpNumbers numbers_of(const img::tcp_stream_entry &entry, const TcpPhase &phase);
/// Sets the windows, again after packets were injected.
Result<void> restore_tcp_window(int fd, const img::tcp_stream_entry &entry, const TcpPhase &phase);

} // namespace resource
