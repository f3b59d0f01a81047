// Terminals: what sessions have of them, the controlling terminal and its foreground group, and /dev/tty.
#include "criu/resource/file/tty/tty.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace resource::tty {
namespace {

/// A descriptor of the terminal: of a file that is open on it, or opened through its master.
Result<base::UniqueFd> reach(const FileSettleContext &context, const img::tty_info_entry &info) {
    const img::file_entry *slave = file_of(context.files, slave_id(info.pty().index()));
    if (slave && context.opened.contains(slave->id()))
        return base::UniqueFd(fcntl(context.opened.at(slave->id()), F_DUPFD_CLOEXEC, 0));
    const img::file_entry *master = file_of(context.files, master_id(info.pty().index()));
    if (!master || !context.opened.contains(master->id()))
        return base::UniqueFd();
    return open_peer(context.opened.at(master->id()), O_RDWR | O_NOCTTY | O_CLOEXEC);
}

/// The controlling terminal of the session that this task leads; nothing if it has none that can be reached. CRIU notes
/// the session with the master of a pair, where both are there.
struct Controlling {
    img::tty_info_entry info;
    base::UniqueFd fd;
};
Result<Controlling> find_controlling(const FileSettleContext &context, const image::ImageDir &images) {
    for (auto &info : TRY(images.read<img::tty_info_entry>(image::ImageKind::TtyInfo))) {
        const Device device = identify(info.rdev()).device;
        if (info.type() == img::PTY && info.sid() == context.pid &&
            (device == Device::Slave || device == Device::Master))
            return Controlling{info, TRY(reach(context, info))};
    }
    return Controlling{};
}

} // namespace

Result<void> lead_session(FileSettleContext &context, const image::ImageDir &images) {
    const Controlling terminal = TRY(find_controlling(context, images));
    if (terminal.fd && ioctl(terminal.fd.get(), TIOCSCTTY, 0) < 0)
        return base::fail_sys(fmt::format("make /dev/pts/{} the controlling terminal", terminal.info.pty().index()));
    return {};
}

Result<void> settle_session(FileSettleContext &context, const image::ImageDir &images) {
    const Controlling terminal = TRY(find_controlling(context, images));
    auto group = context.seen_from_here(terminal.info.pgrp());
    // A foreground group may have died out: then the terminal has none.
    if (terminal.fd && group && ioctl(terminal.fd.get(), TIOCSPGRP, &group) < 0 && errno != ESRCH && errno != EPERM)
        return base::fail_sys(fmt::format("make {} the foreground group", group));
    return {};
}

bool is_controlling(const img::file_entry &entry, const ImageFiles &files, const Remaps &) {
    // A file that a dump has just written stands alone: without the others there is no path to look at.
    return entry.tty().tty_info_id() == other_id(makedev(5, 0)) || path_of(files, entry.tty(), "") == "/dev/tty";
}

Result<plan::OpRef> open_late(LatePlan &late, const img::file_entry &entry) {
    constexpr std::string_view kPath = "/dev/tty";
    const std::string path(kPath);
    const uint64_t at = late.plan.data().add(std::as_bytes(std::span(path.c_str(), path.size() + 1)));
    return late.plan.call(
        plan::Stage::LateOpen, "open /dev/tty", SYS_openat,
        {static_cast<uint64_t>(AT_FDCWD), at, static_cast<uint64_t>(opening_flags(entry.tty().flags()))});
}

} // namespace resource::tty
