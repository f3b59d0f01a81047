// Mounts that the caller brings: what --external mnt[..] says.
//
// On the dump a mount point is given a key (`mnt[/data]:KEY`); nothing of such a mount is saved. On the restore the key
// is given a path of the caller's mounts (`mnt[KEY]:/host/data`).
#pragma once

#include <map>
#include <optional>
#include <string>

namespace resource::mounts {

struct Externals {
    std::map<std::string, std::string> keys;  ///< on the dump: mount point -> key
    std::map<std::string, std::string> paths; ///< on the restore: key -> path
    std::string root;                         ///< --root: what becomes the root mount, on the restore

    std::optional<std::string> key_of(const std::string &mount_point) const {
        auto found = keys.find(mount_point);
        return found == keys.end() ? std::nullopt : std::optional(found->second);
    }
    std::optional<std::string> path_of(const std::string &key) const {
        auto found = paths.find(key);
        return found == paths.end() ? std::nullopt : std::optional(found->second);
    }
};

} // namespace resource::mounts
