// File systems by the numbers that images have for them, and what of each is ours to save.
#pragma once

#include "mnt.pb.h"

#include <string_view>

namespace resource::mounts {

enum class Contents {
    None,    ///< made by the kernel, or mounted anew and empty
    Archive, ///< saved as an archive beside the mounts
};

struct FileSystem {
    const char *name; ///< as mount(2) takes it
    img::fstype number;
    Contents contents = Contents::None;
};

/// By name, without a subtype ("fuse.sshfs" is fuse); null for one that can only come from outside.
const FileSystem *find_file_system(std::string_view name);
/// By the number in an image (img::fstype); null for what it does not name.
const FileSystem *find_file_system(uint32_t number);

} // namespace resource::mounts
