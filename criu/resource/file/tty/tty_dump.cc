// Terminals: dump. What needs the other end, or changes what waits in a queue, is done when all files have been seen.
#include "criu/resource/file/external.hh"
#include "criu/resource/file/tty/tty.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <set>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace resource::tty {
namespace {

/// One pseudo terminal: descriptors of ours that share a description of each end, where the tree has one.
struct Pair {
    base::UniqueFd master, slave;
    bool hung_up = false;
    std::string link; ///< of the slave
    Pid holder;
};

struct Terminals {
    std::set<uint32_t> infos; ///< written
    std::map<uint32_t, Pair> pairs;
    std::vector<uint32_t> full; ///< whose queues are taken when all else is known to be fine
};

bool hangs(int fd) {
    termios2 settings{};
    return ioctl(fd, TCGETS2, &settings) < 0 && errno == EIO;
}

uint32_t device_number(dev_t device) {
    return static_cast<uint32_t>(major(device) << 20 | minor(device));
}

/// The session whose controlling terminal it is, and its foreground group.
void write_session(const FileDumpContext &context, uint32_t index, img::tty_info_entry &info) {
    for (const tree::TaskFacts &task : context.tasks) {
        uint32_t theirs = 0;
        if (task.zombie || !is_pty_slave(static_cast<uint32_t>(task.stat.tty_nr), theirs) || theirs != index)
            continue;
        info.set_sid(static_cast<uint32_t>(task.vsession.value));
        info.set_pgrp(static_cast<uint32_t>(context.pids.inside(base::Pid(std::max(0, task.stat.tpgid))).value));
        return;
    }
}

void write_settings(int fd, img::tty_info_entry &info) {
    termios2 settings{}, locked{};
    winsize size{};
    if (ioctl(fd, TCGETS2, &settings) < 0)
        return; // hung up
    write_termios(settings, info.mutable_termios());
    if (ioctl(fd, TIOCGLCKTRMIOS, &locked) == 0)
        write_termios(locked, info.mutable_termios_locked());
    if (ioctl(fd, TIOCGWINSZ, &size) == 0) {
        img::winsize_entry *entry = info.mutable_winsize();
        entry->set_ws_row(size.ws_row), entry->set_ws_col(size.ws_col);
        entry->set_ws_xpixel(size.ws_xpixel), entry->set_ws_ypixel(size.ws_ypixel);
    }
}

int flag_of(int fd, unsigned long request) {
    int value = 0;
    return ioctl(fd, request, &value) == 0 ? value : 0;
}

/// A message with what every kind has; `fd` is any descriptor of this end.
img::tty_info_entry begin_info(uint32_t id, img::TtyType type, int fd, dev_t rdev) {
    img::tty_info_entry info;
    info.set_id(id), info.set_type(type);
    info.set_locked(false);
    info.set_exclusive(flag_of(fd, TIOCGEXCL));
    info.set_packet_mode(false);
    info.set_sid(0), info.set_pgrp(0);
    info.set_rdev(static_cast<uint32_t>(rdev));
    return info;
}

Result<void> write_info(FileDumpContext &context, const OpenFile &file, const Identity &who, uint32_t id) {
    if (!context.states.of<Terminals>().infos.insert(id).second)
        return {};
    const bool pty = who.device == Device::Master || who.device == Device::Slave;
    auto info = begin_info(id,
                           pty                                 ? img::PTY
                           : who.device == Device::Controlling ? img::CTTY
                           : who.device == Device::Console     ? img::CONSOLE
                                                               : img::VT,
                           file.fd, file.stat.st_rdev);
    info.set_dev(device_number(file.stat.st_dev));
    info.set_uid(file.stat.st_uid), info.set_gid(file.stat.st_gid);
    write_settings(file.fd, info);
    if (pty) {
        info.mutable_pty()->set_index(who.index);
        write_session(context, who.index, info); // of the master too: CRIU looks for it there
    }
    if (who.device == Device::Slave) {
        info.mutable_ext()->set_mode(file.stat.st_mode & 07777);
        if (hangs(file.fd))
            info.mutable_ext()->set_hung_up(true);
    }
    if (who.device == Device::Master) {
        info.set_locked(flag_of(file.fd, TIOCGPTLCK));
        info.set_packet_mode(flag_of(file.fd, TIOCGPKT));
        pollfd ends{file.fd, 0, 0};
        if (poll(&ends, 1, 0) == 1 && (ends.revents & POLLHUP))
            info.mutable_ext()->set_peer_closed(true);
    }
    return context.images.add(image::ImageKind::TtyInfo, 0, info);
}

/// The path under which it was opened: a file entry that belongs to no descriptor, as with FIFOs.
Result<uint32_t> write_path(FileDumpContext &context, const OpenFile &file) {
    img::file_entry entry;
    entry.set_type(img::REG);
    entry.set_id(context.new_id().value);
    img::reg_file_entry *reg = entry.mutable_reg();
    reg->set_id(entry.id());
    reg->set_flags(file.flags & ~static_cast<uint32_t>(O_CLOEXEC));
    reg->set_pos(0);
    reg->set_name(file.link);
    reg->set_mode(file.stat.st_mode);
    TRY(dump_owner(context, file, reg->mutable_fown()));
    TRY(context.images.add(image::ImageKind::Files, 0, entry));
    return entry.id();
}

Result<void> remember(FileDumpContext &context, const OpenFile &file, const Identity &who) {
    Pair &pair = context.states.of<Terminals>().pairs[who.index];
    base::UniqueFd &end = who.device == Device::Master ? pair.master : pair.slave;
    end.reset(fcntl(file.fd, F_DUPFD_CLOEXEC, 0));
    if (!end)
        return base::fail_sys("keep a descriptor");
    if (who.device == Device::Slave) {
        pair.hung_up = hangs(file.fd);
        pair.link = file.link;
        pair.holder = file.holder;
    }
    return {};
}

// ---- when all have been seen ---------------------------------------------------------------------------------------

Result<void> write_data(FileDumpContext &context, uint32_t id, const std::string &data) {
    if (data.empty())
        return {};
    img::tty_data_entry entry;
    entry.set_tty_id(id);
    entry.set_data(data);
    return context.images.add(image::ImageKind::TtyData, 0, entry);
}

struct Waiting {
    std::string input, output; ///< for the slave, for the master
};

Result<void> put_back(int master, int slave, const Waiting &waiting, bool canonical) {
    if (waiting.input.empty() && waiting.output.empty())
        return {};
    auto quiet = TRY(Quiet::make(master, slave, canonical));
    if (!waiting.input.empty())
        TRY(give(master, waiting.input));
    return waiting.output.empty() ? Result<void>{} : give(slave, waiting.output);
}

/// What waits cannot be looked at without being taken. If the tree is to live on it is put back at once.
Result<void> dump_queues(FileDumpContext &context, uint32_t index, const Pair &pair) {
    const int master = pair.master.get(), slave = pair.slave ? pair.slave.get() : -1;
    termios2 settings{};
    if (ioctl(master, TCGETS2, &settings) < 0)
        return base::fail_sys("TCGETS2");
    Waiting waiting;
    {
        auto quiet = TRY(Quiet::make(master, slave, false));
        if (slave >= 0)
            waiting.input = TRY(take(slave));
        if (slave >= 0 || !context.options.tree_survives) // it could not be put back
            waiting.output = TRY(take(master));
    }
    if (context.options.tree_survives)
        TRY(put_back(master, slave, waiting, settings.c_lflag & ICANON));
    TRY(write_data(context, slave_id(index), waiting.input));
    return write_data(context, master_id(index), waiting.output);
}

/// A controlling terminal that no descriptor of the tree leads to, although its master is there.
Result<void> write_unheld_slave(FileDumpContext &context, uint32_t index, const Pair &pair) {
    auto info = begin_info(slave_id(index), img::PTY, pair.master.get(), makedev(136 + index / 256, index % 256));
    info.set_exclusive(false);
    info.mutable_pty()->set_index(index);
    write_session(context, index, info);
    if (!info.sid())
        return {};
    write_settings(pair.master.get(), info);
    return context.images.add(image::ImageKind::TtyInfo, 0, info);
}

Result<void> finish_pair(FileDumpContext &context, uint32_t index, const Pair &pair) {
    if (pair.master) {
        if (!pair.slave)
            TRY(write_unheld_slave(context, index, pair));
        if (context.options.tree_survives)
            return dump_queues(context, index, pair);
        constexpr uint64_t kBothQueues = 64u << 10;
        context.destructive_bytes += kBothQueues;
        context.states.of<Terminals>().full.push_back(index);
        return {};
    }
    if (pair.hung_up || context.options.shell_job || context.options.orphan_terminals)
        return {};
    return base::fail(base::Error(base::ErrorKind::Unsupported,
                                  fmt::format("task {} has the terminal {} open, whose master is outside of the tree",
                                              pair.holder.value, pair.link))
                          .hint("dump and restore with --shell-job, which puts the tree onto the terminal of the "
                                "restore; or start the program without a terminal (setsid, redirected)"));
}

} // namespace

namespace {

/// One that the caller keeps and gives to the restore: only its settings are noted.
Result<void> dump_external(FileDumpContext &context, const OpenFile &file, img::file_entry &entry) {
    const uint32_t id = other_id(file.stat.st_rdev);
    if (context.states.of<Terminals>().infos.insert(id).second) {
        auto info = begin_info(id, img::EXT_TTY, file.fd, file.stat.st_rdev);
        info.set_dev(static_cast<uint32_t>(file.stat.st_dev));
        info.set_uid(file.stat.st_uid), info.set_gid(file.stat.st_gid);
        write_settings(file.fd, info);
        TRY(context.images.add(image::ImageKind::TtyInfo, 0, info));
    }
    img::tty_file_entry *terminal = entry.mutable_tty();
    terminal->set_id(file.id.value);
    terminal->set_tty_info_id(id);
    terminal->set_flags(file.flags & ~static_cast<uint32_t>(O_CLOEXEC));
    return dump_owner(context, file, terminal->mutable_fown());
}

} // namespace

Result<void> dump(FileDumpContext &context, const OpenFile &file, img::file_entry &entry) {
    if (is_external(context.options, "tty", external_tty_key(file.stat.st_rdev, file.stat.st_dev)))
        return dump_external(context, file, entry);
    Identity who = identify(file.stat.st_rdev);
    if (who.device == Device::Other)
        return base::fail(base::Error(base::ErrorKind::Unsupported, "this terminal cannot be restored")
                              .hint(fmt::format("--external tty[{}] leaves it to the caller, who gives another one to "
                                                "the restore (--inherit-fd)",
                                                external_tty_key(file.stat.st_rdev, file.stat.st_dev))));
    if (who.device == Device::Master)
        who.index = TRY(index_of_master(file.fd));
    const bool pty = who.device == Device::Master || who.device == Device::Slave;
    const uint32_t id = who.device == Device::Master ? master_id(who.index)
                        : pty                        ? slave_id(who.index)
                                                     : other_id(file.stat.st_rdev);
    if (pty)
        TRY(remember(context, file, who));
    TRY(write_info(context, file, who, id));
    img::tty_file_entry *terminal = entry.mutable_tty();
    terminal->set_id(file.id.value);
    terminal->set_tty_info_id(id);
    terminal->set_flags(file.flags & ~static_cast<uint32_t>(O_CLOEXEC));
    terminal->set_regf_id(TRY(write_path(context, file)));
    return dump_owner(context, file, terminal->mutable_fown());
}

Result<void> finish(FileDumpContext &context) {
    for (auto &[index, pair] : context.states.of<Terminals>().pairs)
        TRY_CTX(finish_pair(context, index, pair), fmt::format("terminal /dev/pts/{}", index));
    return {};
}

Result<bool> destructive_step(FileDumpContext &context) {
    Terminals &terminals = context.states.of<Terminals>();
    const auto full = std::exchange(terminals.full, {});
    for (uint32_t index : full)
        TRY_CTX(dump_queues(context, index, terminals.pairs.at(index)), fmt::format("terminal /dev/pts/{}", index));
    return !full.empty();
}

} // namespace resource::tty
