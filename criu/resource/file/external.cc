#include "criu/resource/file/external.hh"

#include "criu/parse/fdinfo.hh"
#include "criu/resource/file/file.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>

namespace resource {

bool is_external(const FileOptions &options, std::string_view kind, std::string_view key) {
    return std::ranges::any_of(options.externals, [&](const External &e) { return e.kind == kind && e.key == key; });
}

std::string external_file_key(const OpenFile &file) {
    struct statx now {};
    if (statx(file.fd, "", AT_EMPTY_PATH, STATX_MNT_ID | STATX_INO, &now) < 0)
        return std::string();
    return fmt::format("{:x}:{:x}", now.stx_mnt_id, now.stx_ino);
}

std::string external_tty_key(uint64_t rdev, uint64_t device) {
    return fmt::format("{:x}:{:x}", rdev, device);
}

std::string path_key(std::string_view path) {
    return std::string(path.substr(path.starts_with('/') ? 1 : 0));
}

std::string socket_key(uint32_t inode) {
    return fmt::format("socket:[{}]", inode);
}

int given_for(const FileOptions &options, std::string_view key) {
    for (const InheritFd &given : options.inherit_fds)
        if (!key.empty() && (given.key == key || path_key(given.key) == key))
            return given.fd;
    return -1;
}

} // namespace resource
