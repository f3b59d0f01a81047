// What only the caller knows: objects that he keeps (--external) and descriptors that he gives (--inherit-fd). Both
// name objects by keys, in CRIU's spelling: "tty[RDEV:DEVICE]", "file[MOUNT:INODE]" in hexadecimal, "pipe:[INODE]", a
// path without its first slash.
#pragma once

#include "criu/resource/file/options.hh"

#include <string>
#include <string_view>
#include <sys/stat.h>

namespace resource {

struct OpenFile;

/// Whether the caller has said so: --external KIND[KEY].
bool is_external(const FileOptions &options, std::string_view kind, std::string_view key);

/// "MOUNT:INODE" of a file, as --external file[...] has it.
std::string external_file_key(const OpenFile &file);
/// "RDEV:DEVICE" of a terminal, as --external tty[...] has it.
std::string external_tty_key(uint64_t rdev, uint64_t device);

/// The key of a path, a socket.
std::string path_key(std::string_view path);
std::string socket_key(uint32_t inode);

/// The caller's descriptor for an object; -1: he gives none. An empty key names nothing.
int given_for(const FileOptions &options, std::string_view key);

} // namespace resource
