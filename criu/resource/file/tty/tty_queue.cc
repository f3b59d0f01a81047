// What was written to one end of a pseudo terminal and not read from the other yet. The line discipline would change,
// echo or take for a signal what goes through it, so it is made quiet first.
#include "criu/resource/file/tty/tty.hh"

#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utility>

namespace resource::tty {

Result<Quiet> Quiet::make(int master, int slave, bool canonical_input) {
    Quiet quiet(master, slave);
    const int any = slave >= 0 ? slave : master;
    if (ioctl(any, TCGETS2, &quiet.settings_) < 0)
        return base::fail_sys("TCGETS2");
    termios2 settings = quiet.settings_;
    settings.c_iflag = 0;
    settings.c_oflag &= ~static_cast<tcflag_t>(OPOST);
    settings.c_lflag = canonical_input ? ICANON : 0;
    // No character edits, ends or stops anything; reads return what is there.
    std::memset(settings.c_cc, 0, sizeof settings.c_cc);
    if (ioctl(any, TCSETS2, &settings) < 0)
        return base::fail_sys("TCSETS2");
    quiet.active_ = true;
    int off = 0;
    if (master >= 0 && ioctl(master, TIOCGPKT, &quiet.packets_) == 0 && quiet.packets_)
        ioctl(master, TIOCPKT, &off);
    return quiet;
}

Quiet::Quiet(Quiet &&other) noexcept
    : master_(other.master_), slave_(other.slave_), settings_(other.settings_), packets_(other.packets_),
      active_(std::exchange(other.active_, false)) {}

Quiet::~Quiet() {
    if (!active_)
        return;
    ioctl(slave_ >= 0 ? slave_ : master_, TCSETS2, &settings_);
    if (packets_)
        ioctl(master_, TIOCPKT, &packets_);
}

Result<std::string> take(int fd) {
    std::string data;
    for (;;) {
        pollfd ready{fd, POLLIN, 0}; // brings in what is still on its way between the ends
        int count = 0;
        if (poll(&ready, 1, 0) <= 0 || !(ready.revents & POLLIN) || ioctl(fd, FIONREAD, &count) < 0 || count <= 0)
            return data;
        std::string chunk(static_cast<size_t>(count), '\0');
        const ssize_t n = read(fd, chunk.data(), chunk.size());
        if (n < 0)
            return base::fail_sys("read what waits in a terminal");
        data.append(chunk, 0, static_cast<size_t>(n));
    }
}

namespace {

// A terminal that says it takes more may still wait in the middle of a write.
Result<void> give_at_once(int fd, const std::string &data) {
    constexpr int kPatienceMs = 1000, kMostRefusals = 1000;
    int refusals = 0;
    for (size_t done = 0; done < data.size();) {
        pollfd ready{fd, POLLOUT, 0};
        if (poll(&ready, 1, kPatienceMs) <= 0 || refusals > kMostRefusals)
            return base::fail_sys(
                EAGAIN,
                fmt::format("the terminal takes no more than {} of the {} bytes that waited in it", done, data.size()));
        const ssize_t n = write(fd, data.data() + done, data.size() - done);
        if (n < 0 && errno != EAGAIN)
            return base::fail_sys("write what waited in a terminal");
        if (n < 0)
            refusals += 1 + poll(nullptr, 0, 1);
        else
            done += static_cast<size_t>(n);
    }
    return {};
}

} // namespace

Result<void> give(int fd, const std::string &data) {
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return base::fail_sys("flags of a terminal");
    auto outcome = give_at_once(fd, data);
    if (fcntl(fd, F_SETFL, flags) < 0)
        return base::fail_sys("flags of a terminal");
    return outcome;
}

} // namespace resource::tty
