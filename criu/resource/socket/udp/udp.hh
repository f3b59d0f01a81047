// What UDP and UDP-Lite sockets hold besides addresses and options: datagrams that nobody has read yet.
#pragma once

#include "criu/resource/socket/inet/inet_socket.hh"

namespace resource {

/// Datagrams in the receive queue with their senders. Nothing is taken out.
Result<void> dump_datagrams(FileDumpContext &context, const OpenFile &file, img::inet_sk_entry *entry);
/// Sends them once more. The socket is bound and connected as it was, and has no filter yet.
Result<void> restore_datagrams(const kernel::Outside &outside, int fd, const img::inet_sk_entry &entry);

} // namespace resource
