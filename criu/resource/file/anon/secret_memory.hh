// Secret memory (memfd_secret(2)): pages that only those see who have mapped them. No system call reads the file, but
// whoever has a descriptor can map it: so can the tool.
#pragma once

#include "base/unique_fd.hh"
#include "criu/resource/file/file.hh"

namespace resource {

bool is_secret_memory(const OpenFile &file);

/// An ordinary memory file with the same contents, for the moment of a dump.
Result<base::UniqueFd> copy_secret_memory(int fd, uint64_t size);

/// An empty one. Errors: System(ENOSYS) where the kernel has it switched off.
Result<base::UniqueFd> create_secret_memory();

} // namespace resource
