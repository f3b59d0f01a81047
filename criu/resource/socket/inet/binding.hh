// Places that a socket has and that bind(2) would not give to a fresh one: a port that others have too, an address of
// no interface. Both were allowed by options that count at the time of the call and may have been changed since.
#pragma once

#include "criu/resource/file/file.hh"
#include "criu/resource/socket/inet/inet_address.hh"

namespace resource {

/// Notes in the entry whether the address belongs to no interface, unless its options say already that it need not.
Result<void> dump_binding(int fd, const Endpoint &local, img::inet_sk_entry *entry);

/// bind(2). Where others hold the port, all of them get the options by which they can share it, until settle_binding().
Result<void> bind_inet(FileOpenContext &context, int fd, const img::inet_sk_entry &entry, const Endpoint &local);
/// listen(2), which checks the port once more.
Result<void> listen_inet(FileOpenContext &context, int fd, const img::inet_sk_entry &entry);
/// Takes back what was lent, when all sockets are bound and listen.
Result<void> settle_binding(FileSettleContext &context, int fd, const img::inet_sk_entry &entry);

} // namespace resource
