// The list of all kinds of descriptors. The first that matches takes the file.
#include "criu/resource/file/kinds.hh"
#include "criu/resource/socket/option_list.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>

namespace resource {
namespace {

constexpr const FileKind *kFileKinds[] = {
    &pipe::kKind,          &fifo::kKind,           &eventfd::kKind, &bpf_map::kKind,  &signalfd::kKind,
    &timerfd::kKind,       &eventpoll::kKind,      &inotify::kKind, &fanotify::kKind, &io_uring::kKind,
    &pidfd::kKind,         &namespace_file::kKind, &memfd::kKind,   &kInetSocket,     &kUnixSocket,
    &packet_socket::kKind, &netlink_socket::kKind, &kTty,           &tun::kKind,      &refused_socket::kKind,
    &regular::kKind,
};

} // namespace

Result<OpenFile> look_at(int fd) {
    OpenFile file;
    file.fd = fd;
    if (fstat(fd, &file.stat) < 0)
        return base::fail_sys("fstat");
    file.flags = static_cast<uint32_t>(fcntl(fd, F_GETFL));
    if (S_ISSOCK(file.stat.st_mode))
        file.family = int_option(fd, SOL_SOCKET, SO_DOMAIN, -1);
    return file;
}

std::span<const FileKind *const> file_kinds() {
    return kFileKinds;
}

const FileKind *find_file_kind(img::fd_types type) {
    for (const FileKind *kind : kFileKinds)
        if (kind->type == type && (kind->open || kind->open_late))
            return kind;
    return nullptr;
}

Result<const FileKind *> kind_of_entry(const img::file_entry &file) {
    if (const FileKind *kind = find_file_kind(file.type()))
        return kind;
    return base::unsupported(fmt::format("file {} is of the kind {}, which is not supported yet", file.id(),
                                         img::fd_types_Name(file.type())));
}

Place place_of(const img::file_entry &file) {
    const FileKind *kind = find_file_kind(file.type());
    return kind && kind->place ? kind->place(file) : Place{};
}

bool is_late(const img::file_entry &file, const ImageFiles &files, const Remaps &remaps) {
    const FileKind *kind = find_file_kind(file.type());
    return kind && kind->late && kind->late(file, files, remaps);
}

bool FileSettleContext::is_held(uint32_t id) const {
    return std::any_of(table.begin(), table.end(), [&](auto &held) { return held.second == id; });
}

bool LatePlan::is_late(uint32_t id) const {
    return resource::is_late(files.at(id), files, remaps);
}

} // namespace resource
