// The contents of a file system as an archive: gzip'ed tar, as CRIU's images have it (tmpfs-dev-N.tar.gz.img), with
// extended attributes, access control lists and nanoseconds in the extensions of POSIX (pax), which GNU tar reads.
#pragma once

#include "base/log.hh"
#include "base/result.hh"

namespace resource::mounts {

using base::Result;

/// Writes everything below `directory` to `file`, without what other file systems show. Sockets are left out: who binds
/// them makes them anew. Errors: System; Unsupported for names that no archive can hold.
Result<void> write_archive(int directory, int file, const base::OwnerMaps &owners);

/// Writes the one object behind `shown`, a file or an empty directory, under this name.
Result<void> write_one(int shown, const std::string &name, int file, const base::OwnerMaps &owners);

/// Fills `directory` from `file`. Nothing outside of it is touched, whatever the archive says.
Result<void> read_archive(int file, int directory, base::Log &log);

} // namespace resource::mounts
