// Options of internet sockets on the levels IP, IPv6, TCP, UDP and of raw sockets.
#pragma once

#include "base/result.hh"
#include "criu/resource/socket/option_list.hh"
#include "images_pb.hh"

#include <string>
#include <string_view>

namespace resource {

/// Fills ip_opts, tcp_opts, v6only and the list of further options. Family, type, proto and state must be filled in.
/// `usual_congestion` is the congestion control of fresh sockets, which is not written.
Result<void> dump_inet_options(int fd, img::inet_sk_entry *entry, std::string_view usual_congestion);
/// The congestion control of a TCP socket; empty for others.
std::string congestion_of(int fd);

/// What must be set before bind(2) and connect(2).
Result<void> restore_early_inet_options(int fd, const img::inet_sk_entry &entry);
/// All others; for TCP when the socket is connected.
Result<void> restore_inet_options(int fd, const img::inet_sk_entry &entry);

} // namespace resource
