// Inside of the kind "internet socket": TCP in tcp_dump.cc and tcp_restore.cc, the others in inet_socket.cc.
#pragma once

#include "criu/resource/file/file.hh"
#include "criu/resource/socket/inet/inet_address.hh"

namespace resource {

struct InetIdentity {
    int family = 0, type = 0, protocol = 0;
};
Result<InetIdentity> identify(int fd);

/// Everything but state, backlog and queues.
Result<void> describe_inet(const FileDumpContext &context, const OpenFile &file, const InetIdentity &identity,
                           uint32_t state, const Endpoint &local, const Endpoint *peer,
                           std::string_view usual_congestion, img::inet_sk_entry *entry);
/// A socket with its early options.
Result<base::UniqueFd> create_inet(const img::inet_sk_entry &entry);
/// The options, and the flags of the description.
Result<void> finish_inet(const kernel::Outside &outside, int fd, const img::inet_sk_entry &entry);

// tcp_dump.cc
bool is_tcp(const InetIdentity &identity);
bool is_tcp(const img::inet_sk_entry &entry);
Result<void> remember_tcp(FileDumpContext &context, const OpenFile &file, const InetIdentity &identity);
Result<void> examine_tcp(const OpenFile &file, const InetIdentity &identity, const FileOptions &options);
Result<void> dump_all_tcp(FileDumpContext &context);
Result<void> prepare_tcp_for_kill(FileDumpContext &context);
Result<void> make_tcp_locks_lasting(FileDumpContext &context);
void take_back_tcp(FileDumpContext &context, bool failed);

// tcp_restore.cc
Result<base::UniqueFd> open_tcp(FileOpenContext &context, const img::inet_sk_entry &entry);
Result<void> complete_tcp(FileOpenContext &context, int fd, const img::inet_sk_entry &entry);
Result<void> release_tcp(int fd, const img::inet_sk_entry &entry);

} // namespace resource
