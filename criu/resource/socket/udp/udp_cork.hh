// UDP data that a program has written and the kernel holds back: UDP_CORK, MSG_MORE.
#pragma once

#include "criu/resource/file/file.hh"

namespace resource {

/// Nothing is sent and nothing changes. Errors: Unsupported where the kernel's memory cannot be read.
Result<void> dump_corked(FileDumpContext &context, const OpenFile &file, img::inet_sk_entry *entry);
/// Writes it once more, held back. The socket is bound and connected as it was and has its options.
Result<void> restore_corked(int fd, const img::inet_sk_entry &entry);
/// Why a dump would refuse the socket.
Result<void> examine_corked(int fd);

} // namespace resource
