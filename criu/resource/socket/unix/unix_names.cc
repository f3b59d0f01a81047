// Where the file is that a unix socket is bound to. The name is only what the program said when it bound the socket:
// since then the working directory may have changed, the file may have been renamed, removed, or replaced by another.
// SIOCUNIXFILE gives the file itself.
#include "criu/kernel/mount_of.hh"
#include "criu/resource/socket/unix/unix_socket.hh"

#include <algorithm>
#include <climits>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <unistd.h>

#ifndef SIOCUNIXFILE
#define SIOCUNIXFILE (SIOCPROTOPRIVATE + 0)
#endif

namespace resource {
namespace {

bool leads_to(const std::string &path, const struct stat &file) {
    struct stat now {};
    return stat(path.c_str(), &now) == 0 && now.st_dev == file.st_dev && now.st_ino == file.st_ino;
}

std::string link_target(const std::string &path) {
    char target[PATH_MAX];
    const ssize_t n = readlink(path.c_str(), target, sizeof target);
    return std::string(target, n > 0 ? static_cast<size_t>(n) : 0);
}

UnixPlace find_place(const TreeMounts &mounts, const OpenFile &socket, const std::string &name, int file) {
    UnixPlace place;
    fstat(file, &place.stat);
    const std::string proc = fmt::format("/proc/{}", socket.voice.value);
    const std::string root = link_target(proc + "/root"), cwd = link_target(proc + "/cwd");
    const std::string real = link_target(fmt::format("/proc/self/fd/{}", file));
    const bool absolute = name[0] == '/';
    if (absolute && leads_to(mounts.path(name), place.stat))
        return place;
    if (!absolute) {
        place.name_dir = cwd;
        if (leads_to(mounts.path(fmt::format("{}/{}", cwd, name)), place.stat))
            return place;
        if (real.ends_with(fmt::format("/{}", name)) && leads_to(mounts.path(real), place.stat)) {
            place.name_dir = real.substr(0, std::max<size_t>(real.size() - name.size() - 1, 1));
            return place;
        }
    }
    if (absolute && root != "/" && leads_to(mounts.path(root + name), place.stat)) {
        place.root = root;
        return place;
    }
    // For CRIU, which knows no renamed files, it is a deleted one.
    place.deleted = true;
    if (place.stat.st_nlink && leads_to(mounts.path(real), place.stat))
        place.path = real;
    return place;
}

void write(const UnixPlace &place, img::unix_sk_entry *entry) {
    img::file_perms_entry *perms = entry->mutable_file_perms();
    perms->set_mode(place.stat.st_mode);
    perms->set_uid(place.stat.st_uid);
    perms->set_gid(place.stat.st_gid);
    if (!place.name_dir.empty())
        entry->set_name_dir(place.name_dir);
    if (place.deleted)
        entry->set_deleted(true);
    img::ext_unix_sk *ext = entry->mutable_ext();
    ext->set_file_dev(place.stat.st_dev);
    ext->set_file_ino(place.stat.st_ino);
    if (!place.path.empty())
        ext->set_path(place.path);
    if (!place.root.empty())
        ext->set_root(place.root);
}

Result<void> look_from_its_mount(FileDumpContext &context, int file, img::unix_sk_entry *entry) {
    const uint32_t mount = TRY_CTX(kernel::mount_of(file), "a unix socket");
    context.mounts.look_from(mount);
    if (context.mounts.ids.contains(mount))
        entry->set_mnt_id(static_cast<int32_t>(mount));
    return {};
}

} // namespace

Result<void> dump_unix_name(FileDumpContext &context, const OpenFile &file, const kernel::UnixSocket &sk,
                            img::unix_sk_entry *entry) {
    entry->set_name(sk.name);
    if (!is_path(sk.name))
        return {};
    const auto key = std::make_tuple(sk.file ? sk.file->first : 0, sk.file ? sk.file->second : 0, sk.name);
    auto &places = context.states.of<UnixDumpState>().places;
    auto known = places.find(key);
    base::UniqueFd opened;
    if (known == places.end() || context.mounts.own()) {
        opened.reset(ioctl(file.fd, SIOCUNIXFILE));
        if (!opened)
            return base::fail_sys("SIOCUNIXFILE");
    }
    if (context.mounts.own())
        TRY(look_from_its_mount(context, opened.get(), entry));
    if (known == places.end()) {
        known =
            places.emplace(key, find_place(context.mounts, file, std::string(unix_path(sk.name)), opened.get())).first;
    }
    write(known->second, entry);
    return {};
}

} // namespace resource
