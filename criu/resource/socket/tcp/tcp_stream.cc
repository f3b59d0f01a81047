#include "criu/resource/socket/tcp/tcp_stream.hh"

#include "criu/kernel/inet_diag.hh"
#include "criu/resource/socket/option_list.hh"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace resource {
namespace {

constexpr int kRepairOn = 1, kRepairOff = 0, kRepairOffSilently = -1;
enum Queue { kNoQueue, kReceiveQueue, kSendQueue };

Result<uint32_t> get_number(int fd, int name, const char *text) {
    int value = 0;
    if (get_int_option(fd, SOL_TCP, name, &value) < 0)
        return base::fail_sys(fmt::format("read {}", text));
    return static_cast<uint32_t>(value);
}

Result<uint32_t> queue_length(int fd, unsigned long request, const char *text) {
    int bytes = 0;
    if (ioctl(fd, request, &bytes) < 0)
        return base::fail_sys(text);
    return static_cast<uint32_t>(bytes);
}

Result<void> select_queue(int fd, Queue queue) {
    return set_int_option(fd, SOL_TCP, TCP_REPAIR_QUEUE, queue, "TCP_REPAIR_QUEUE");
}

Result<uint32_t> sequence(int fd, Queue queue) {
    TRY(select_queue(fd, queue));
    return get_number(fd, TCP_QUEUE_SEQ, "TCP_QUEUE_SEQ");
}

Result<void> set_sequence(int fd, Queue queue, uint32_t value) {
    TRY(select_queue(fd, queue));
    return set_int_option(fd, SOL_TCP, TCP_QUEUE_SEQ, static_cast<int>(value), "TCP_QUEUE_SEQ");
}

Result<void> set_repair(int fd, int mode, bool reuse_address) {
    TRY(set_int_option(fd, SOL_TCP, TCP_REPAIR, mode, "TCP_REPAIR"));
    if (reuse_address)
        TRY(set_int_option(fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"));
    return {};
}

// ---- reading -------------------------------------------------------------------------------------------------------

/// Peeks from the queue that is selected.
Result<void> peek(int fd, size_t bytes, std::vector<std::byte> *to) {
    const size_t before = to->size();
    to->resize(before + bytes);
    if (bytes == 0)
        return {};
    const ssize_t n = recv(fd, to->data() + before, bytes, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0)
        return base::fail_sys("look into a queue of a TCP socket");
    if (static_cast<size_t>(n) != bytes)
        return base::unsupported(fmt::format("a queue of a TCP socket has {} bytes instead of {}", n, bytes));
    return {};
}

Result<void> read_negotiated(int fd, img::tcp_stream_entry *entry) {
    const tcp_info info = TRY(tcp_info_of(fd));
    constexpr uint32_t kKept = TCPI_OPT_TIMESTAMPS | TCPI_OPT_SACK | TCPI_OPT_WSCALE;
    entry->set_opt_mask(info.tcpi_options & kKept);
    entry->set_snd_wscale(info.tcpi_options & TCPI_OPT_WSCALE ? info.tcpi_snd_wscale : 0);
    if (info.tcpi_options & TCPI_OPT_WSCALE)
        entry->set_rcv_wscale(info.tcpi_rcv_wscale);
    entry->set_mss_clamp(TRY(get_number(fd, TCP_MAXSEG, "TCP_MAXSEG")));
    if (info.tcpi_options & TCPI_OPT_TIMESTAMPS)
        entry->set_timestamp(TRY(get_number(fd, TCP_TIMESTAMP, "TCP_TIMESTAMP")));
    return {};
}

Result<void> read_window(int fd, img::tcp_stream_entry *entry) {
    tcp_repair_window window{};
    socklen_t length = sizeof window;
    if (getsockopt(fd, SOL_TCP, TCP_REPAIR_WINDOW, &window, &length) < 0)
        return base::fail_sys("TCP_REPAIR_WINDOW");
    entry->set_snd_wl1(window.snd_wl1);
    entry->set_snd_wnd(window.snd_wnd);
    entry->set_max_window(window.max_window);
    entry->set_rcv_wnd(window.rcv_wnd);
    entry->set_rcv_wup(window.rcv_wup);
    return {};
}

/// In CRIU's images the lengths do not count the end of our direction, which takes a sequence number.
Result<void> read_lengths(int fd, const TcpPhase &phase, img::tcp_stream_entry *entry) {
    const uint32_t in = TRY(queue_length(fd, SIOCINQ, "SIOCINQ"));
    uint32_t out = TRY(queue_length(fd, SIOCOUTQ, "SIOCOUTQ"));
    uint32_t unsent = TRY(queue_length(fd, SIOCOUTQNSD, "SIOCOUTQNSD"));
    if (phase.end_sent && !phase.end_acked) {
        out -= out > 0;
        unsent -= unsent > 0;
    }
    entry->set_inq_len(in);
    entry->set_outq_len(out);
    entry->set_unsq_len(unsent);
    return {};
}

/// Nothing if something has arrived meanwhile, that was under way when the network was locked.
Result<std::optional<TcpStream>> read_once(int fd, uint32_t state) {
    const TcpPhase phase = phase_of(state);
    TcpStream stream;
    img::tcp_stream_entry &entry = stream.entry;
    TRY(read_negotiated(fd, &entry));
    if (state == TCP_SYN_SENT) {
        entry.set_inq_len(0), entry.set_inq_seq(0), entry.set_outq_len(0), entry.set_unsq_len(0);
        entry.set_outq_seq(TRY(sequence(fd, kSendQueue)));
        return stream;
    }
    TRY(read_lengths(fd, phase, &entry));
    TRY(read_window(fd, &entry));
    entry.set_inq_seq(TRY(sequence(fd, kReceiveQueue)));
    TRY(peek(fd, entry.inq_len(), &stream.queues));
    entry.set_outq_seq(TRY(sequence(fd, kSendQueue)));
    TRY(peek(fd, entry.outq_len(), &stream.queues));
    if (TRY(queue_length(fd, SIOCINQ, "SIOCINQ")) != entry.inq_len() ||
        TRY(sequence(fd, kReceiveQueue)) != entry.inq_seq())
        return std::nullopt;
    return stream;
}

Result<TcpStream> read_in_repair(int fd, uint32_t state) {
    for (int tries = 0; tries < 20; tries++) {
        if (auto stream = TRY(read_once(fd, state)))
            return std::move(*stream);
        usleep(1000);
    }
    return base::unsupported("data arrives on a TCP connection although the network is locked");
}

} // namespace

Result<tcp_info> tcp_info_of(int fd) {
    tcp_info info{};
    socklen_t length = sizeof info;
    if (getsockopt(fd, SOL_TCP, TCP_INFO, &info, &length) < 0)
        return base::fail_sys("TCP_INFO");
    return info;
}

Result<void> enter_repair(int fd) {
    if (auto set = set_int_option(fd, SOL_TCP, TCP_REPAIR, kRepairOn, "TCP_REPAIR"); !set)
        return base::fail(std::move(
            std::move(set).error().hint("this takes the capability CAP_NET_ADMIN in the network's user namespace")));
    return {};
}

Result<void> leave_repair_silently(int fd, bool reuse_address) {
    return set_repair(fd, kRepairOffSilently, reuse_address);
}

Result<void> leave_repair(int fd, bool reuse_address) {
    return set_repair(fd, kRepairOff, reuse_address);
}

TcpPhase phase_of(uint32_t state) {
    switch (state) {
    case TCP_ESTABLISHED:
        return {.connected = true};
    case TCP_CLOSE_WAIT:
        return {.connected = true, .end_received = true};
    case TCP_FIN_WAIT1:
        return {.connected = true, .end_sent = true};
    case TCP_FIN_WAIT2:
        return {.connected = true, .end_sent = true, .end_acked = true};
    case TCP_CLOSING:
    case TCP_LAST_ACK:
        return {.connected = true, .end_received = true, .end_sent = true};
    }
    return {};
}

const char *tcp_state_name(uint32_t state) {
    constexpr std::array kNames{"?",         "ESTABLISHED", "SYN_SENT",   "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2",
                                "TIME_WAIT", "CLOSE",       "CLOSE_WAIT", "LAST_ACK", "LISTEN",    "CLOSING"};
    return state < kNames.size() ? kNames[state] : "?";
}

Result<TcpStream> read_tcp_stream(PeekGuard &guard, int fd, uint32_t state, bool reuse_address) {
    Result<TcpStream> stream;
    auto read = [&]() -> Result<void> {
        TRY(enter_repair(fd));
        stream = read_in_repair(fd, state);
        return leave_repair_silently(fd, reuse_address);
    };
    // A program may have set where its next peek begins.
    const bool own_offset = int_option(fd, SOL_SOCKET, SO_PEEK_OFF, PeekGuard::kNoOffset) > 0;
    TRY(own_offset ? guard.walk(fd, read, PeekGuard::kNoOffset) : read());
    return stream;
}

Result<std::string> peek_received(int fd) {
    std::vector<std::byte> bytes;
    TRY(peek(fd, TRY(queue_length(fd, SIOCINQ, "SIOCINQ")), &bytes));
    return std::string(reinterpret_cast<const char *>(bytes.data()), bytes.size());
}

// ---- rebuilding ----------------------------------------------------------------------------------------------------

namespace {

Result<void> restore_negotiated(int fd, const img::tcp_stream_entry &entry) {
    tcp_repair_opt options[4];
    socklen_t count = 0;
    constexpr uint32_t kMaxSegment = 2, kWindow = 3, kSackPermitted = 4, kTimestamp = 8; // option kinds of TCP
    if (entry.opt_mask() & TCPI_OPT_WSCALE)
        options[count++] = {kWindow, entry.snd_wscale() | entry.rcv_wscale() << 16};
    if (entry.opt_mask() & TCPI_OPT_SACK)
        options[count++] = {kSackPermitted, 0};
    if (entry.opt_mask() & TCPI_OPT_TIMESTAMPS)
        options[count++] = {kTimestamp, 0};
    options[count++] = {kMaxSegment, entry.mss_clamp()};
    if (setsockopt(fd, SOL_TCP, TCP_REPAIR_OPTIONS, options, static_cast<socklen_t>(count * sizeof options[0])) < 0)
        return base::fail_sys("TCP_REPAIR_OPTIONS");
    if (entry.has_timestamp() && entry.opt_mask() & TCPI_OPT_TIMESTAMPS)
        return set_int_option(fd, SOL_TCP, TCP_TIMESTAMP, static_cast<int>(entry.timestamp()), "TCP_TIMESTAMP");
    return {};
}

Result<void> feed(int fd, std::span<const std::byte> data) {
    size_t chunk = 65536; // a piece needs one allocation of the kernel's
    while (!data.empty()) {
        const ssize_t n = send(fd, data.data(), std::min(chunk, data.size()), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && (errno == ENOMEM || errno == ENOBUFS) && chunk > 1024) {
            chunk /= 2;
            continue;
        }
        if (n <= 0)
            return base::fail_sys("fill a queue of a TCP socket");
        data = data.subspan(static_cast<size_t>(n));
    }
    return {};
}

/// Room for `bytes` in small pieces; the exact sizes come with the socket's options.
Result<void> make_buffer(const kernel::Outside &outside, int fd, int name, size_t bytes) {
    if (bytes == 0)
        return {};
    const int wanted = static_cast<int>(std::min<size_t>(bytes * 2 + (1u << 17), 1u << 29));
    int now = 0;
    if (get_int_option(fd, SOL_SOCKET, name == SO_SNDBUFFORCE ? SO_SNDBUF : SO_RCVBUF, &now) == 0 && now >= 2 * wanted)
        return {};
    return outside.force_buffer(fd, name, wanted) ? Result<void>()
                                                  : base::fail_sys("set the size of a socket's buffer");
}

/// Makes the kernel work out the size of segments from what was negotiated and the window. It did so at the connect,
/// with the 536 bytes of a peer that says nothing, and would do so again only when the route's MTU changes; options of
/// IP (none; the connection's own come later) do it at once.
Result<void> measure_segments(int fd) {
    if (setsockopt(fd, SOL_IP, IP_OPTIONS, nullptr, 0) < 0)
        return base::fail_sys("IP_OPTIONS");
    return {};
}

Result<void> check_lengths(const TcpStream &stream) {
    const img::tcp_stream_entry &entry = stream.entry;
    if (entry.unsq_len() > entry.outq_len() ||
        stream.queues.size() != static_cast<size_t>(entry.inq_len()) + entry.outq_len())
        return base::bad_image("a TCP connection with queues of impossible lengths");
    return {};
}

} // namespace

TcpNumbers numbers_of(const img::tcp_stream_entry &entry, const TcpPhase &phase) {
    const uint32_t out_end = entry.outq_seq() - phase.end_sent;
    return {
        .in_end = entry.inq_seq() - phase.end_received, .out_begin = out_end - entry.outq_len(), .out_end = out_end};
}

Result<void> rebuild_tcp_stream(const kernel::Outside &outside, int fd, const TcpStream &stream, const TcpPhase &phase,
                                const Endpoint &local, const Endpoint &peer) {
    TRY(check_lengths(stream));
    const img::tcp_stream_entry &entry = stream.entry;
    const TcpNumbers numbers = numbers_of(entry, phase);
    TRY(set_sequence(fd, kReceiveQueue, numbers.in_end - entry.inq_len()));
    TRY(set_sequence(fd, kSendQueue, numbers.out_begin));
    const SocketAddress from = to_sockaddr(local), to = to_sockaddr(peer);
    if (bind(fd, from.get(), from.length) < 0)
        return base::fail_sys(fmt::format("bind to {}", to_text(local)));
    int r = connect(fd, to.get(), to.length);
    if (r < 0 && errno == EADDRNOTAVAIL && TRY(kernel::destroy_remains(local.port)))
        r = connect(fd, to.get(), to.length);
    if (r < 0)
        return base::fail_sys(fmt::format("connect {} to {} in repair mode", to_text(local), to_text(peer)));
    TRY(restore_negotiated(fd, entry));
    const std::span<const std::byte> in = std::span(stream.queues).first(entry.inq_len()),
                                     sent = std::span(stream.queues)
                                                .subspan(entry.inq_len(), entry.outq_len() - entry.unsq_len());
    if (!in.empty()) {
        TRY(make_buffer(outside, fd, SO_RCVBUFFORCE, in.size()));
        TRY(select_queue(fd, kReceiveQueue));
        TRY(feed(fd, in));
    }
    TRY(restore_tcp_window(fd, entry, phase)); // checked against what was received
    TRY(measure_segments(fd));
    TRY(make_buffer(outside, fd, SO_SNDBUFFORCE, entry.outq_len()));
    TRY(select_queue(fd, kSendQueue));
    return feed(fd, sent);
}

Result<void> finish_tcp_stream(int fd, const TcpStream &stream, const TcpPhase &phase) {
    const auto unsent = std::span(stream.queues).last(stream.entry.unsq_len());
    // In repair mode data counts as sent at once, and would wait for a timer. Outside of it the lock of the network
    // makes the kernel keep it as unsent.
    if (!unsent.empty()) {
        TRY(leave_repair_silently(fd, false));
        TRY(feed(fd, unsent));
    }
    if (phase.end_sent && shutdown(fd, SHUT_WR) < 0)
        return base::fail_sys("shut down a TCP connection");
    if (!unsent.empty()) {
        TRY(enter_repair(fd));
        TRY(select_queue(fd, kSendQueue));
    }
    return {};
}

Result<void> restore_tcp_window(int fd, const img::tcp_stream_entry &entry, const TcpPhase &phase) {
    if (!entry.has_snd_wnd())
        return {};
    const uint32_t in_end = numbers_of(entry, phase).in_end;
    tcp_repair_window window{.snd_wl1 = entry.snd_wl1(),
                             .snd_wnd = entry.snd_wnd(),
                             .max_window = entry.max_window(),
                             .rcv_wnd = entry.rcv_wnd(),
                             .rcv_wup = entry.rcv_wup()};
    // The numbers may count an end that has not been received again yet.
    if (static_cast<int32_t>(window.rcv_wup - in_end) > 0)
        window.rcv_wup = in_end;
    if (static_cast<int32_t>(window.snd_wl1 - in_end) > 0)
        window.snd_wl1 = in_end;
    if (setsockopt(fd, SOL_TCP, TCP_REPAIR_WINDOW, &window, sizeof window) < 0)
        return base::fail_sys("TCP_REPAIR_WINDOW");
    return {};
}

} // namespace resource
