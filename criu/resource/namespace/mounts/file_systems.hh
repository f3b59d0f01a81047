// File systems by the numbers that images have for them, and what of each is ours to save.
#pragma once

#include "mnt.pb.h"

#include <string_view>

namespace resource::mounts {

enum class Contents {
    None,    ///< made by the kernel, or mounted anew and empty
    Archive, ///< saved as an archive beside the mounts
    Empty,   ///< mounted anew: has to be empty, for there is no way to fill it
};

struct FileSystem {
    const char *name; ///< as mount(2) takes it
    img::fstype number;
    Contents contents = Contents::None;
};

/// By name, without a subtype ("fuse.sshfs" is fuse); null for one that can only come from outside.
const FileSystem *find_file_system(std::string_view name);
/// Of an entry of an image; null for what can only come from outside.
const FileSystem *find_file_system(const img::mnt_entry &entry);
/// As mount(2) takes it; empty for what can only come from outside. Also of types that only a name in the image tells
/// (--enable-fs, dev[..]).
std::string type_of(const img::mnt_entry &entry);

} // namespace resource::mounts
