// Options of the level SOL_SOCKET. What CRIU has fields for is written there, the rest as a list of what differs from a
// fresh socket. A restore sets only what a fresh socket does not have already.
//
// The kernel doubles what SO_SNDBUF and SO_RCVBUF are given, and answers the doubled value: half of it is set. Setting
// it also takes the socket out of TCP's automatic sizing, which SO_BUF_LOCK tells and can undo (since Linux 5.14).
#include "criu/resource/socket/socket_options.hh"
#include "criu/resource/socket/option_list.hh"

#include <algorithm>
#include <asm/socket.h>
#include <climits>
#include <fmt/format.h>
#include <linux/filter.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/time.h>

namespace resource {
namespace {

constexpr int kBufLock = 72;         // SO_BUF_LOCK
constexpr int kReserveMem = 73;      // SO_RESERVE_MEM
constexpr int kTxRehash = 74;        // SO_TXREHASH
constexpr int kReceiveMark = 75;     // SO_RCVMARK
constexpr int kPassPidfd = 76;       // SO_PASSPIDFD
constexpr int kReceivePriority = 82; // SO_RCVPRIORITY
constexpr int kPassRights = 83;      // SO_PASSRIGHTS
constexpr int kInq = 84;             // SO_INQ

// Order matters: the peek offset and the lock of the filter come last. What is lenient is a hint, or needs a privilege
// that the restoring user may lack without harm.
constexpr SocketOption kOptions[] = {
    {SOL_SOCKET, SO_DEBUG, "SO_DEBUG", 0, 4, true},
    {SOL_SOCKET, SO_TIMESTAMP_OLD, "SO_TIMESTAMP", 0},
    {SOL_SOCKET, SO_TIMESTAMP_NEW, "SO_TIMESTAMP_NEW", 0},
    {SOL_SOCKET, SO_TIMESTAMPNS_OLD, "SO_TIMESTAMPNS", 0},
    {SOL_SOCKET, SO_TIMESTAMPNS_NEW, "SO_TIMESTAMPNS_NEW", 0},
    {SOL_SOCKET, SO_TIMESTAMPING_OLD, "SO_TIMESTAMPING", 0, 12},
    {SOL_SOCKET, SO_TIMESTAMPING_NEW, "SO_TIMESTAMPING_NEW", 0, 12},
    {SOL_SOCKET, SO_RXQ_OVFL, "SO_RXQ_OVFL", 0},
    {SOL_SOCKET, SO_WIFI_STATUS, "SO_WIFI_STATUS", 0},
    {SOL_SOCKET, SO_NOFCS, "SO_NOFCS", 0},
    {SOL_SOCKET, SO_SELECT_ERR_QUEUE, "SO_SELECT_ERR_QUEUE", 0},
    {SOL_SOCKET, SO_BUSY_POLL, "SO_BUSY_POLL", 0, 4, true},
    {SOL_SOCKET, SO_PREFER_BUSY_POLL, "SO_PREFER_BUSY_POLL", 0, 4, true},
    {SOL_SOCKET, SO_MAX_PACING_RATE, "SO_MAX_PACING_RATE", -1, 8},
    {SOL_SOCKET, SO_ZEROCOPY, "SO_ZEROCOPY", 0},
    {SOL_SOCKET, SO_TXTIME, "SO_TXTIME", 0, 12},
    {SOL_SOCKET, kReserveMem, "SO_RESERVE_MEM", 0, 4, true},
    {SOL_SOCKET, kTxRehash, "SO_TXREHASH", 1, 4, true},
    {SOL_SOCKET, kReceiveMark, "SO_RCVMARK", 0},
    {SOL_SOCKET, kReceivePriority, "SO_RCVPRIORITY", 0},
    {SOL_SOCKET, kPassPidfd, "SO_PASSPIDFD", 0},
    {SOL_SOCKET, kPassRights, "SO_PASSRIGHTS", 1},
    {SOL_SOCKET, kInq, "SO_INQ", 0},
    {SOL_SOCKET, SO_INCOMING_CPU, "SO_INCOMING_CPU", -1, 4, true},
    {SOL_SOCKET, SO_PEEK_OFF, "SO_PEEK_OFF", -1},
    {SOL_SOCKET, SO_LOCK_FILTER, "SO_LOCK_FILTER", 0},
};

int value_of(int fd, int name, int otherwise = 0) {
    return int_option(fd, SOL_SOCKET, name, otherwise);
}

// ---- dump ----------------------------------------------------------------------------------------------------------

// An instruction in one number, as CRIU puts it: not as it lies in memory.
uint64_t packed(const sock_filter &instruction) {
    return uint64_t{instruction.code} << 48 | uint64_t{instruction.jt} << 40 | uint64_t{instruction.jf} << 32 |
           instruction.k;
}
sock_filter unpacked(uint64_t number) {
    return {static_cast<uint16_t>(number >> 48), static_cast<uint8_t>(number >> 40), static_cast<uint8_t>(number >> 32),
            static_cast<uint32_t>(number)};
}

Result<void> dump_filter(int fd, img::sk_opts_entry *opts) {
    socklen_t instructions = 0;
    if (getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, nullptr, &instructions) < 0) {
        if (errno == EACCES)
            return base::fail(base::Error(base::ErrorKind::Unsupported, "an extended BPF filter is attached")
                                  .hint("the kernel does not give the program back: detach it before the dump"));
        return {};
    }
    if (instructions == 0)
        return {};
    std::vector<sock_filter> code(instructions);
    if (getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, code.data(), &instructions) < 0)
        return base::fail_sys("read the socket filter");
    for (const sock_filter &instruction : code)
        opts->add_so_filter(packed(instruction));
    return {};
}

timeval timeout_of(int fd, int name) {
    timeval time{};
    socklen_t length = sizeof time;
    getsockopt(fd, SOL_SOCKET, name, &time, &length);
    return time;
}

void dump_device(int fd, img::sk_opts_entry *opts) {
    char name[IFNAMSIZ] = {};
    socklen_t length = sizeof name;
    if (getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &length) == 0 && length > 0 && name[0])
        opts->set_so_bound_dev(name);
}

// Which CPU a packet came in on is noted by the kernel itself; it is a setting where it chooses among listeners.
void drop_observed_cpu(const img::sk_opts_entry &opts, OptionList *list) {
    for (int i = list->size(); i-- > 0;)
        if ((*list)[i].name() == SO_INCOMING_CPU && !opts.so_reuseport())
            list->DeleteSubrange(i, 1);
}

} // namespace

Result<void> dump_socket_options(int fd, img::sk_opts_entry *opts) {
    auto number = [&](int name) { return static_cast<uint32_t>(value_of(fd, name)); };
    opts->set_so_sndbuf(number(SO_SNDBUF));
    opts->set_so_rcvbuf(number(SO_RCVBUF));
    const timeval send = timeout_of(fd, SO_SNDTIMEO_OLD), receive = timeout_of(fd, SO_RCVTIMEO_OLD);
    opts->set_so_snd_tmo_sec(static_cast<uint64_t>(send.tv_sec));
    opts->set_so_snd_tmo_usec(static_cast<uint64_t>(send.tv_usec));
    opts->set_so_rcv_tmo_sec(static_cast<uint64_t>(receive.tv_sec));
    opts->set_so_rcv_tmo_usec(static_cast<uint64_t>(receive.tv_usec));
    opts->set_reuseaddr(number(SO_REUSEADDR));
    opts->set_so_priority(number(SO_PRIORITY));
    opts->set_so_rcvlowat(number(SO_RCVLOWAT));
    if (uint32_t mark = number(SO_MARK))
        opts->set_so_mark(mark);
    // Only some families have these two.
    if (int value = value_of(fd, SO_PASSCRED, -1); value >= 0)
        opts->set_so_passcred(value);
    if (int value = value_of(fd, SO_PASSSEC, -1); value >= 0)
        opts->set_so_passsec(value);
    opts->set_so_dontroute(number(SO_DONTROUTE));
    opts->set_so_no_check(number(SO_NO_CHECK));
    opts->set_so_reuseport(number(SO_REUSEPORT));
    opts->set_so_broadcast(number(SO_BROADCAST));
    opts->set_so_keepalive(number(SO_KEEPALIVE));
    opts->set_so_oobinline(number(SO_OOBINLINE));
    linger lingering{};
    socklen_t length = sizeof lingering;
    if (getsockopt(fd, SOL_SOCKET, SO_LINGER, &lingering, &length) == 0 && lingering.l_onoff)
        opts->set_so_linger(static_cast<uint32_t>(lingering.l_linger));
    if (int lock = value_of(fd, kBufLock, -1); lock >= 0)
        opts->set_so_buf_lock(static_cast<uint32_t>(lock));
    dump_device(fd, opts);
    TRY(dump_filter(fd, opts));
    img::ext_sk_opts more;
    TRY(dump_option_list(fd, kOptions, more.mutable_options()));
    drop_observed_cpu(*opts, more.mutable_options());
    if (more.options_size())
        *opts->mutable_ext() = more;
    return {};
}

// ---- restore -------------------------------------------------------------------------------------------------------

namespace {

Result<void> set(int fd, int name, uint32_t value, const char *text) {
    return set_int_option(fd, SOL_SOCKET, name, static_cast<int>(value), text);
}

/// Sets a buffer's size so that the socket answers `wanted` afterwards. SO_*BUFFORCE goes beyond the system's limit.
Result<void> set_buffer(const kernel::Outside &outside, int fd, int name, int force, uint32_t wanted,
                        const char *text) {
    if (wanted > INT_MAX)
        return base::bad_image(fmt::format("{} of {} bytes", text, wanted));
    const int half = static_cast<int>((wanted + 1) / 2);
    if (outside.force_buffer(fd, force, half))
        return {};
    return set_int_option(fd, SOL_SOCKET, name, half, text);
}

/// Returns whether the size was set.
Result<bool> adjust_buffer(const kernel::Outside &outside, int fd, int name, int force, uint32_t wanted,
                           const char *text) {
    if (wanted == 0 || static_cast<uint32_t>(value_of(fd, name)) == wanted)
        return false;
    TRY(set_buffer(outside, fd, name, force, wanted, text));
    return true;
}

Result<void> restore_buffers(const kernel::Outside &outside, int fd, const img::sk_opts_entry &opts) {
    bool touched = TRY(adjust_buffer(outside, fd, SO_SNDBUF, SO_SNDBUFFORCE, opts.so_sndbuf(), "SO_SNDBUF"));
    if (TRY(adjust_buffer(outside, fd, SO_RCVBUF, SO_RCVBUFFORCE, opts.so_rcvbuf(), "SO_RCVBUF")))
        touched = true;
    // Set even where nothing was touched here: make_room() may have been at work.
    if (opts.has_so_buf_lock() && (touched || value_of(fd, kBufLock, -1) != static_cast<int>(opts.so_buf_lock())))
        (void)set(fd, kBufLock, opts.so_buf_lock(), "SO_BUF_LOCK"); // an older kernel keeps them locked
    return {};
}

Result<void> restore_timeout(int fd, int name, uint64_t seconds, uint64_t microseconds, const char *text) {
    if (!seconds && !microseconds)
        return {};
    const timeval time{static_cast<time_t>(seconds), static_cast<suseconds_t>(microseconds)};
    if (setsockopt(fd, SOL_SOCKET, name, &time, sizeof time) < 0)
        return base::fail_sys(fmt::format("set {}", text));
    return {};
}

Result<void> restore_filter(int fd, const img::sk_opts_entry &opts) {
    if (opts.so_filter_size() == 0)
        return {};
    if (opts.so_filter_size() > BPF_MAXINSNS)
        return base::bad_image(fmt::format("a socket filter of {} instructions", opts.so_filter_size()));
    std::vector<sock_filter> code;
    std::ranges::transform(opts.so_filter(), std::back_inserter(code), unpacked);
    const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0)
        return base::fail_sys("attach the socket filter");
    return {};
}

Result<void> restore_flags(int fd, const img::sk_opts_entry &opts) {
    const struct {
        bool on;
        int name;
        const char *text;
    } flags[] = {
        {opts.so_passcred(), SO_PASSCRED, "SO_PASSCRED"},         {opts.so_passsec(), SO_PASSSEC, "SO_PASSSEC"},
        {opts.so_dontroute(), SO_DONTROUTE, "SO_DONTROUTE"},      {opts.so_no_check(), SO_NO_CHECK, "SO_NO_CHECK"},
        {opts.so_broadcast(), SO_BROADCAST, "SO_BROADCAST"},      {opts.so_keepalive(), SO_KEEPALIVE, "SO_KEEPALIVE"},
        {opts.so_oobinline() != 0, SO_OOBINLINE, "SO_OOBINLINE"},
    };
    for (const auto &flag : flags)
        if (flag.on)
            TRY(set(fd, flag.name, 1, flag.text));
    return {};
}

} // namespace

Result<void> restore_early_socket_options(int fd, const img::sk_opts_entry &opts) {
    // Raw sockets are born with it.
    if (opts.has_reuseaddr() && (value_of(fd, SO_REUSEADDR) != 0) != opts.reuseaddr())
        TRY(set(fd, SO_REUSEADDR, opts.reuseaddr(), "SO_REUSEADDR"));
    if (opts.so_reuseport())
        TRY(set(fd, SO_REUSEPORT, 1, "SO_REUSEPORT"));
    if (opts.so_priority())
        TRY(set(fd, SO_PRIORITY, opts.so_priority(), "SO_PRIORITY"));
    if (opts.so_mark())
        TRY(set(fd, SO_MARK, opts.so_mark(), "SO_MARK"));
    if (!opts.so_bound_dev().empty() && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, opts.so_bound_dev().c_str(),
                                                   static_cast<socklen_t>(opts.so_bound_dev().size() + 1)) < 0)
        return base::fail_sys(fmt::format("bind a socket to the device {}", opts.so_bound_dev()));
    return {};
}

Result<void> restore_socket_options(const kernel::Outside &outside, int fd, const img::sk_opts_entry &opts) {
    TRY(restore_early_socket_options(fd, opts));
    // Before the buffers: a TCP socket grows its own with it.
    if (opts.has_so_rcvlowat() && opts.so_rcvlowat() != 1)
        TRY(set(fd, SO_RCVLOWAT, opts.so_rcvlowat(), "SO_RCVLOWAT"));
    TRY(restore_buffers(outside, fd, opts));
    TRY(restore_timeout(fd, SO_SNDTIMEO_OLD, opts.so_snd_tmo_sec(), opts.so_snd_tmo_usec(), "SO_SNDTIMEO"));
    TRY(restore_timeout(fd, SO_RCVTIMEO_OLD, opts.so_rcv_tmo_sec(), opts.so_rcv_tmo_usec(), "SO_RCVTIMEO"));
    TRY(restore_flags(fd, opts));
    if (opts.has_so_linger()) {
        const linger lingering{1, static_cast<int>(opts.so_linger())};
        if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &lingering, sizeof lingering) < 0)
            return base::fail_sys("set SO_LINGER");
    }
    TRY(restore_filter(fd, opts));
    return restore_option_list(fd, kOptions, opts.ext().options());
}

Result<void> make_room(const kernel::Outside &outside, int fd, const img::sk_opts_entry &opts) {
    if (static_cast<uint32_t>(value_of(fd, SO_SNDBUF)) < opts.so_sndbuf())
        TRY(set_buffer(outside, fd, SO_SNDBUF, SO_SNDBUFFORCE, opts.so_sndbuf(), "SO_SNDBUF"));
    if (static_cast<uint32_t>(value_of(fd, SO_RCVBUF)) < opts.so_rcvbuf())
        TRY(set_buffer(outside, fd, SO_RCVBUF, SO_RCVBUFFORCE, opts.so_rcvbuf(), "SO_RCVBUF"));
    return {};
}

} // namespace resource
