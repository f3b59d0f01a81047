// Terminals: restore. A pseudo terminal gets its old number: /dev/ptmx hands out the lowest that is free, so it is
// opened until the right one comes, for all of them in ascending order.
#include "criu/resource/file/external.hh"
#include "criu/resource/file/path/opening.hh"
#include "criu/resource/file/tty/tty.hh"

#include <csignal>
#include <fcntl.h>
#include <fmt/format.h>
#include <set>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <utility>

namespace resource::tty {

const img::file_entry *file_of(const ImageFiles &files, uint32_t info_id) {
    for (auto &[id, file] : files)
        if (file.type() == img::TTY && file.tty().tty_info_id() == info_id)
            return &file;
    return nullptr;
}

std::string path_of(const ImageFiles &files, const img::tty_file_entry &terminal, const char *otherwise) {
    auto named = files.find(terminal.regf_id());
    return named != files.end() && named->second.has_reg() ? named->second.reg().name() : otherwise;
}

int opening_flags(uint32_t flags) {
    constexpr uint32_t kNeverAgain = O_CREAT | O_EXCL | O_TRUNC;
    return static_cast<int>((flags & ~kNeverAgain) | O_NOCTTY | O_CLOEXEC);
}

Result<base::UniqueFd> open_peer(int master, int flags) {
    // O_CLOEXEC would stay in the flags of the file, where open(2) does not leave it.
    base::UniqueFd fd(ioctl(master, TIOCGPTPEER, flags & ~O_CLOEXEC));
    if (!fd || fcntl(fd.get(), F_SETFD, FD_CLOEXEC) < 0)
        return base::fail_sys("open the slave of a pseudo terminal");
    return fd;
}

namespace {

constexpr uint32_t kMostIndex = 1u << 20;

struct Pty {
    base::UniqueFd master, slave; ///< the slave's: any one, for what is set through it
    bool completed = false;
};

struct Restored {
    bool loaded = false;
    std::map<uint32_t, img::tty_info_entry> infos;
    std::map<uint32_t, std::string> data;
    std::map<uint32_t, Pty> ptys;
    std::vector<base::UniqueFd> in_the_way; ///< masters of numbers that nobody wants, until the wanted ones are open
    uint32_t next = 0;                      ///< masters of lower numbers are open or cannot be had
};

Result<Restored *> load(FileOpenContext &context) {
    auto &restored = context.states.of<Restored>();
    if (restored.loaded)
        return &restored;
    for (auto &info : TRY(context.images.read<img::tty_info_entry>(image::ImageKind::TtyInfo)))
        restored.infos.emplace(info.id(), info);
    for (auto &data : TRY(context.images.read<img::tty_data_entry>(image::ImageKind::TtyData)))
        restored.data[data.tty_id()] += data.data();
    restored.loaded = true;
    return &restored;
}

Result<const img::tty_info_entry *> info_of(const Restored &restored, uint32_t id) {
    auto info = restored.infos.find(id);
    if (info == restored.infos.end())
        return base::bad_image(fmt::format("tty-info.img: terminal {} is missing", id));
    return &info->second;
}

// ---- opening -------------------------------------------------------------------------------------------------------

/// Whether the other end of this slave is made for the caller.
bool is_orphan(const FileOpenContext &context, const img::tty_info_entry &info) {
    return context.options.orphan_terminals && info.type() == img::PTY && !info.ext().hung_up() &&
           info.id() == slave_id(info.pty().index()) && !file_of(context.files, master_id(info.pty().index()));
}

/// Masters of the image by number, from `first` on; null stands for one that only the caller will have.
std::map<uint32_t, const img::tty_file_entry *> masters_from(const FileOpenContext &context, const Restored &restored,
                                                             uint32_t first) {
    std::map<uint32_t, const img::tty_file_entry *> masters;
    for (auto &[id, file] : context.files) {
        if (file.type() != img::TTY)
            continue;
        auto info = restored.infos.find(file.tty().tty_info_id());
        if (info == restored.infos.end() || info->second.type() != img::PTY)
            continue;
        const uint32_t index = info->second.pty().index();
        if (auto pty = restored.ptys.find(index); index < first || (pty != restored.ptys.end() && pty->second.master))
            continue;
        if (info->first == master_id(index))
            masters.emplace(index, &file.tty());
        if (is_orphan(context, info->second))
            masters.emplace(index, nullptr);
    }
    return masters;
}

struct NewMaster {
    base::UniqueFd fd;
    uint32_t index;
};
Result<NewMaster> open_master_of(const ImageFiles &files, const img::tty_file_entry *terminal) {
    const std::string path = terminal ? path_of(files, *terminal, "/dev/ptmx") : "/dev/ptmx";
    base::UniqueFd fd = open_at_once(path.c_str(), opening_flags(terminal ? terminal->flags() : O_RDWR));
    if (!fd)
        return base::fail_sys(fmt::format("open {}", path));
    const uint32_t index = TRY(index_of_master(fd.get()));
    return NewMaster{std::move(fd), index};
}

/// Opens all masters up to this number, from the lowest on: what is in the way of one is the next one that is wanted,
/// or stays open. A program with a thousand terminals would otherwise cost half a million openings.
Result<void> open_masters(FileOpenContext &context, Restored &restored, uint32_t last) {
    auto wanted = masters_from(context, restored, restored.next);
    while (restored.next <= last) {
        auto next = wanted.lower_bound(restored.next);
        if (next == wanted.end())
            break;
        NewMaster made = TRY(open_master_of(context.files, next->second));
        if (made.index < next->first) {
            restored.in_the_way.push_back(std::move(made.fd));
            continue;
        }
        restored.next = made.index;
        if (made.index > next->first)
            continue; // that one is in use; this one is opened again as the image has it
        const int unlocked = 0;
        if (ioctl(made.fd.get(), TIOCSPTLCK, &unlocked) < 0)
            return base::fail_sys("unlock a pseudo terminal");
        restored.ptys[made.index].master = std::move(made.fd);
        restored.next++;
    }
    return {};
}

/// One that is open already, because the terminal is a mount too. Nothing if there is none.
Result<base::UniqueFd> take_open_master(FileOpenContext &context, uint32_t index) {
    auto found = context.masters.find(index);
    if (found == context.masters.end())
        return base::UniqueFd();
    base::UniqueFd master = std::move(found->second);
    context.masters.erase(found);
    const img::file_entry *file = file_of(context.files, master_id(index));
    const int unlocked = 0;
    if (ioctl(master.get(), TIOCSPTLCK, &unlocked) < 0 ||
        (file && fcntl(master.get(), F_SETFL, static_cast<int>(file->tty().flags())) < 0))
        return base::fail_sys("set up a pseudo terminal");
    return master;
}

/// The pair of that number; its master is opened as the image has it.
Result<Pty *> pty_of(FileOpenContext &context, Restored &restored, const img::tty_info_entry &info) {
    const uint32_t index = info.pty().index();
    Pty &pty = restored.ptys[index];
    if (pty.master)
        return &pty;
    if ((!file_of(context.files, master_id(index)) && !is_orphan(context, info)) || index > kMostIndex)
        return base::bad_image(fmt::format("files.img: the master of terminal {} is missing", index));
    pty.master = TRY(take_open_master(context, index));
    if (!pty.master)
        TRY(open_masters(context, restored, index));
    if (!pty.master)
        return base::fail(base::Error(base::ErrorKind::Busy, fmt::format("the terminal /dev/pts/{} is in use", index))
                              .hint("end what uses it, or restore where /dev/pts is an instance of its own"));
    return &pty;
}

/// A slave whose master is gone hangs up by itself.
Result<base::UniqueFd> open_hung_up(int flags) {
    base::UniqueFd master(::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC));
    const int unlocked = 0;
    if (!master || ioctl(master.get(), TIOCSPTLCK, &unlocked) < 0)
        return base::fail_sys("open /dev/ptmx");
    return open_peer(master.get(), flags);
}

/// The terminal that the restore itself runs on, for what was a job of a shell.
Result<base::UniqueFd> open_own(int flags) {
    for (int fd = 0; fd <= 2; fd++)
        if (isatty(fd)) {
            base::UniqueFd own(::open(fmt::format("/proc/self/fd/{}", fd).c_str(), flags));
            if (!own)
                return base::fail_sys("open the terminal of the restore");
            return own;
        }
    return base::fail(base::Error(base::ErrorKind::System, "the tree needs a terminal, and the restore has none")
                          .hint("run the restore in a terminal, with its standard input not redirected"));
}

Result<base::UniqueFd> open_slave(FileOpenContext &context, Restored &restored, const img::tty_info_entry &info,
                                  const img::tty_file_entry &terminal) {
    const int flags = opening_flags(terminal.flags());
    if (info.ext().hung_up())
        return open_hung_up(flags);
    const uint32_t index = info.pty().index();
    if (!file_of(context.files, master_id(index)) && !is_orphan(context, info)) {
        if (context.options.shell_job)
            return open_own(flags);
        return base::fail(base::Error(base::ErrorKind::Unsupported, fmt::format("the master of {} is not in the tree",
                                                                                path_of(context.files, terminal, "it")))
                              .hint("restore with --shell-job"));
    }
    Pty *pty = TRY(pty_of(context, restored, info));
    base::UniqueFd fd = TRY(open_peer(pty->master.get(), flags));
    if (!pty->slave)
        pty->slave.reset(fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
    return fd;
}

Result<base::UniqueFd> open_master(FileOpenContext &context, Restored &restored, const img::tty_info_entry &info) {
    Pty *pty = TRY(pty_of(context, restored, info));
    base::UniqueFd fd(fcntl(pty->master.get(), F_DUPFD_CLOEXEC, 0));
    if (!fd)
        return base::fail_sys("keep a descriptor");
    return fd;
}

// ---- what is set when both ends are open ---------------------------------------------------------------------------

Result<void> set_modes(int fd, const img::tty_info_entry &info) {
    if (!info.has_termios())
        return {};
    constexpr tcflag_t kOtherSpeed = 0010000; // BOTHER: as numbers
    termios2 settings = read_termios(info.termios());
    const bool by_number = (settings.c_cflag & CBAUD) == kOtherSpeed;
    if (ioctl(fd, by_number ? TCSETS2 : TCSETS, &settings) < 0)
        return base::fail_sys("set the modes of a terminal");
    return {};
}

Result<void> set_size(int fd, const img::tty_info_entry &info) {
    const img::winsize_entry &entry = info.winsize();
    const winsize size{static_cast<uint16_t>(entry.ws_row()), static_cast<uint16_t>(entry.ws_col()),
                       static_cast<uint16_t>(entry.ws_xpixel()), static_cast<uint16_t>(entry.ws_ypixel())};
    if (info.has_winsize() && ioctl(fd, TIOCSWINSZ, &size) < 0)
        return base::fail_sys("TIOCSWINSZ");
    return {};
}

Result<void> fill_queues(const Restored &restored, uint32_t index, const Pty &pty, bool canonical) {
    auto input = restored.data.find(slave_id(index)), output = restored.data.find(master_id(index));
    if (input == restored.data.end() && output == restored.data.end())
        return {};
    auto quiet = TRY(Quiet::make(pty.master.get(), -1, canonical));
    if (input != restored.data.end())
        TRY(give(pty.master.get(), input->second));
    if (output == restored.data.end())
        return {};
    base::UniqueFd slave = TRY(open_peer(pty.master.get(), O_RDWR | O_NOCTTY | O_CLOEXEC));
    return give(slave.get(), output->second);
}

Result<void> lock_modes(int fd, const img::tty_info_entry &info) {
    if (!info.has_termios_locked())
        return {};
    termios2 locked = read_termios(info.termios_locked());
    if (!(locked.c_iflag | locked.c_oflag | locked.c_cflag | locked.c_lflag))
        return {};
    if (ioctl(fd, TIOCSLCKTRMIOS, &locked) < 0)
        return base::fail_sys("TIOCSLCKTRMIOS");
    return {};
}

Result<void> set_node(int fd, const img::tty_info_entry &info) {
    if (info.has_uid() && fchown(fd, info.uid(), info.gid()) < 0)
        return base::fail_sys("set the owner of a terminal");
    if (info.ext().has_mode() && fchmod(fd, info.ext().mode() & 07777) < 0)
        return base::fail_sys("set the mode of a terminal");
    return {};
}

Result<void> complete_slave(Pty &pty, const img::tty_info_entry &info) {
    if (!pty.slave)
        return {};
    TRY(set_node(pty.slave.get(), info));
    if (info.exclusive() && ioctl(pty.slave.get(), TIOCEXCL) < 0)
        return base::fail_sys("TIOCEXCL");
    pty.slave.reset();
    return {};
}

Result<void> complete_master(Pty &pty, const img::tty_info_entry &info) {
    const int fd = pty.master.get(), on = 1;
    if (info.ext().peer_closed()) // a slave that comes and goes; harmless beside others
        TRY(open_peer(fd, O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (info.packet_mode() && ioctl(fd, TIOCPKT, &on) < 0)
        return base::fail_sys("TIOCPKT");
    if (info.exclusive() && ioctl(fd, TIOCEXCL) < 0)
        return base::fail_sys("TIOCEXCL");
    if (info.locked() && ioctl(fd, TIOCSPTLCK, &on) < 0)
        return base::fail_sys("TIOCSPTLCK");
    pty.master.reset(); // the stash has it
    return {};
}

/// What there is to set of the master itself, once everything else is.
Result<void> finish_master(FileOpenContext &context, const Restored &restored, uint32_t index, Pty &pty) {
    auto master = restored.infos.find(master_id(index));
    if (master != restored.infos.end())
        return complete_master(pty, master->second);
    TRY(context.hand_over_terminal(pty.master.get()));
    pty.master.reset();
    return {};
}

Result<void> complete_pty(FileOpenContext &context, Restored &restored, uint32_t index, Pty &pty) {
    auto known = restored.infos.find(slave_id(index));
    const img::tty_info_entry &modes =
        known == restored.infos.end() ? *TRY(info_of(restored, master_id(index))) : known->second;
    const int fd = pty.master.get(); // modes and size are the slave's, through whichever end they are set
    TRY(set_modes(fd, modes));
    TRY(fill_queues(restored, index, pty, modes.has_termios() && (modes.termios().c_lflag() & ICANON)));
    TRY(set_size(fd, modes));
    TRY(lock_modes(fd, modes));
    if (known != restored.infos.end())
        TRY(complete_slave(pty, modes));
    return finish_master(context, restored, index, pty);
}

} // namespace

Result<std::string> inherit_key(FileOpenContext &context, const img::file_entry &entry) {
    const img::tty_info_entry &info = *TRY(info_of(*TRY(load(context)), entry.tty().tty_info_id()));
    return fmt::format("tty[{}]", external_tty_key(info.rdev(), info.dev()));
}

Result<base::UniqueFd> open(FileOpenContext &context, const img::file_entry &entry) {
    const img::tty_file_entry &terminal = entry.tty();
    Restored &restored = *TRY(load(context));
    const img::tty_info_entry &info = *TRY(info_of(restored, terminal.tty_info_id()));
    switch (info.type()) {
    case img::PTY:
        return identify(info.rdev()).device == Device::Master ? open_master(context, restored, info)
                                                              : open_slave(context, restored, info, terminal);
    case img::CONSOLE:
    case img::VT: {
        const std::string path = path_of(context.files, terminal, "/dev/console");
        base::UniqueFd fd = open_at_once(path.c_str(), opening_flags(terminal.flags()));
        if (!fd)
            return base::fail_sys(fmt::format("open {}", path));
        if (!isatty(fd.get()))
            return base::unsupported(fmt::format("{} is no terminal any more", path));
        return fd;
    }
    case img::EXT_TTY: {
        const std::string key = external_tty_key(info.rdev(), info.dev());
        return base::fail(base::Error(base::ErrorKind::Unsupported, fmt::format("the terminal {} is the caller's", key))
                              .hint(fmt::format("give a descriptor for it: --inherit-fd fd[N]:tty[{}]", key)));
    }
    default:
        return base::unsupported(fmt::format("a terminal of the kind {}", img::TtyType_Name(info.type())));
    }
}

Result<void> complete(FileOpenContext &context, int fd, const img::file_entry &entry) {
    Restored &restored = *TRY(load(context));
    const img::tty_info_entry &info = *TRY(info_of(restored, entry.tty().tty_info_id()));
    if (info.type() != img::PTY || info.ext().hung_up())
        return {};
    auto pty = restored.ptys.find(info.pty().index());
    if (pty == restored.ptys.end())
        return set_modes(fd, info); // the terminal of the restore
    if (std::exchange(pty->second.completed, true))
        return {};
    restored.in_the_way.clear();
    return complete_pty(context, restored, pty->first, pty->second);
}

Result<void> settle(FileSettleContext &, int fd, const img::file_entry &entry) {
    return restore_owner(fd, entry.tty().fown(), entry.tty().flags());
}

} // namespace resource::tty
