#include "criu/resource/file/tty/tty.hh"

#include <cstring>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace resource {
namespace tty {
namespace {

constexpr unsigned kTtyAux = 5, kVirtual = 4, kFirstSlave = 136, kLastSlave = 143;
constexpr unsigned kPtmx = 2, kConsole = 1, kCurrent = 0, kLastVirtual = 63;
constexpr int kWords = 19; // as CRIU has them; the kernel's 19 bytes fill the first five

bool matches(const OpenFile &file) {
    return S_ISCHR(file.stat.st_mode) && !(file.flags & O_PATH) &&
           (identify(file.stat.st_rdev).device != Device::Other || isatty(file.fd));
}

} // namespace

Identity identify(dev_t rdev) {
    const unsigned number = minor(rdev);
    switch (major(rdev)) {
    case kTtyAux:
        return {number == kPtmx      ? Device::Master
                : number == kCurrent ? Device::Controlling
                : number == kConsole ? Device::Console
                                     : Device::Other,
                0};
    case kVirtual:
        return {number <= kLastVirtual ? Device::Virtual : Device::Other, number};
    default:
        if (major(rdev) < kFirstSlave || major(rdev) > kLastSlave)
            return {};
        return {Device::Slave, (major(rdev) - kFirstSlave) * 256 + number};
    }
}

// The kernel's own encoding: 12 bits of major number between the low 8 and the other bits of the minor number.
bool is_pty_slave(uint32_t tty_nr, uint32_t &index) {
    const Identity who = identify(makedev(tty_nr >> 8 & 0xfff, (tty_nr & 0xff) | (tty_nr >> 12 & 0xfff00)));
    index = who.index;
    return who.device == Device::Slave;
}

Result<uint32_t> index_of_master(int fd) {
    unsigned index = 0;
    if (ioctl(fd, TIOCGPTN, &index) < 0)
        return base::fail_sys("TIOCGPTN");
    return index;
}

void write_termios(const termios2 &settings, img::termios_entry *entry) {
    entry->set_c_iflag(settings.c_iflag);
    entry->set_c_oflag(settings.c_oflag);
    entry->set_c_cflag(settings.c_cflag);
    entry->set_c_lflag(settings.c_lflag);
    entry->set_c_line(settings.c_line);
    entry->set_c_ispeed(settings.c_ispeed);
    entry->set_c_ospeed(settings.c_ospeed);
    uint32_t words[kWords] = {};
    std::memcpy(words, settings.c_cc, sizeof settings.c_cc);
    for (uint32_t word : words)
        entry->add_c_cc(word);
}

termios2 read_termios(const img::termios_entry &entry) {
    termios2 settings{};
    settings.c_iflag = entry.c_iflag();
    settings.c_oflag = entry.c_oflag();
    settings.c_cflag = entry.c_cflag();
    settings.c_lflag = entry.c_lflag();
    settings.c_line = static_cast<cc_t>(entry.c_line());
    settings.c_ispeed = entry.c_ispeed();
    settings.c_ospeed = entry.c_ospeed();
    const std::vector<uint32_t> words(entry.c_cc().begin(), entry.c_cc().end());
    std::memcpy(settings.c_cc, words.data(), std::min(sizeof settings.c_cc, words.size() * sizeof words[0]));
    return settings;
}

} // namespace tty

extern const FileKind kTty{
    .name = "terminal",
    .type = img::TTY,
    .about =
        {.saved = "pseudo terminals by pair or alone: index, both queues, termios, locked termios, window size, "
                  "packet and exclusive mode, lock, owner and mode of the slave; sessions and foreground groups; "
                  "/dev/tty, consoles and virtual terminals; hung-up terminals",
         .restored = "at the same index; a slave whose master is outside of the tree becomes the terminal of "
                     "`criu restore`, with `--shell-job`",
         .limits =
             "refused: a slave whose master is outside without `--shell-job` or `--external tty[RDEV:DEVICE]`, serial "
             "lines without the latter; lost: flow "
             "control (^S), and with `--leave-running` the output in a master that has no slave any more"},
    .matches = tty::matches,
    .dump = tty::dump,
    .finish = tty::finish,
    .destructive_step = tty::destructive_step,
    .open = tty::open,
    .inherit_key = tty::inherit_key,
    .complete = tty::complete,
    .settle = tty::settle,
    .lead_session = tty::lead_session,
    .settle_session = tty::settle_session,
    .late = tty::is_controlling,
    .open_late = tty::open_late};

} // namespace resource
