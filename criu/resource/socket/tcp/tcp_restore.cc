// TCP sockets come back in three steps. When the files are opened: created, bound, connected in repair mode, with what
// had arrived and what was sent. When all are open: listening, options, data that was not sent, ends of directions.
// Right before the tree runs, the network unlocked: out of repair mode.
//
// Several sockets share a port: while in repair mode a socket may bind to any; for the others see inet/binding.hh.
#include "criu/resource/socket/inet/binding.hh"
#include "criu/resource/socket/inet/inet_options.hh"
#include "criu/resource/socket/inet/inet_socket.hh"
#include "criu/resource/socket/option_list.hh"
#include "criu/resource/socket/socket_options.hh"
#include "criu/resource/socket/tcp/tcp_packet.hh"
#include "criu/resource/socket/tcp/tcp_pending.hh"
#include "criu/resource/socket/tcp/tcp_stream.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace resource {
namespace {

struct TcpRestore {
    std::map<uint32_t, TcpStream> streams;     ///< by file id
    std::optional<std::set<uint32_t>> waiting; ///< clients that were not accepted yet: they connect anew

    bool waits(const FileOpenContext &context, const img::inet_sk_entry &entry) {
        if (!waiting)
            waiting = pending_clients(context.files);
        return waiting->contains(entry.id());
    }
};

/// Injected segments are received before this is called, unless the machine is very busy.
Result<void> wait_for_state(int fd, uint32_t wanted) {
    uint32_t state = 0;
    for (int tries = 0; tries < 1000; tries++) {
        state = TRY(tcp_info_of(fd)).tcpi_state;
        if (state == wanted)
            return {};
        usleep(1000);
    }
    return base::fail(base::ErrorKind::System, fmt::format("a TCP connection is {} and does not become {}",
                                                           tcp_state_name(state), tcp_state_name(wanted)));
}

bool is_connection(const img::inet_sk_entry &entry) {
    return phase_of(entry.state()).connected || entry.state() == TCP_SYN_SENT;
}

bool has_remains(const img::inet_sk_entry &entry) {
    return entry.ext().error() || !entry.ext().unread().empty();
}

Result<TcpStream> load(FileOpenContext &context, const img::inet_sk_entry &entry) {
    auto found = TRY(context.images.read_with_payload<img::tcp_stream_entry>(image::ImageKind::TcpStream, entry.ino()));
    if (found.size() != 1)
        return base::bad_image(fmt::format("tcp-stream-{:x}.img has {} entries", entry.ino(), found.size()));
    return TcpStream{std::move(found[0].message), std::move(found[0].payload)};
}

Result<void> open_stream(FileOpenContext &context, int fd, const img::inet_sk_entry &entry) {
    TcpStream &stream = context.states.of<TcpRestore>().streams[entry.id()];
    stream = TRY(load(context, entry));
    const Endpoint local = TRY(read_local(entry)), peer = TRY(read_peer(entry));
    TRY(enter_repair(fd));
    if (entry.state() != TCP_SYN_SENT) {
        TRY(make_room(context.outside, fd, entry.opts()));
        return rebuild_tcp_stream(context.outside, fd, stream, phase_of(entry.state()), local, peer);
    }
    // The number of its SYN, which is on its way, less one.
    TRY(set_int_option(fd, SOL_TCP, TCP_REPAIR_QUEUE, 2, "TCP_REPAIR_QUEUE"));
    TRY(set_int_option(fd, SOL_TCP, TCP_QUEUE_SEQ, static_cast<int>(stream.entry.outq_seq() - 1), "TCP_QUEUE_SEQ"));
    return bind_inet(context, fd, entry, local);
}

/// A connection that is over, with data that nobody has read: one is made up and reset.
Result<void> open_remains(const kernel::Outside &outside, int fd, const img::inet_sk_entry &entry) {
    const Endpoint local = TRY(read_local(entry));
    Endpoint peer = local;
    peer.port = static_cast<uint16_t>(local.port ^ 1 ? local.port ^ 1 : 2);
    TcpStream stream;
    stream.entry.set_inq_seq(1u + static_cast<uint32_t>(entry.ext().unread().size()));
    stream.entry.set_inq_len(static_cast<uint32_t>(entry.ext().unread().size()));
    stream.entry.set_outq_seq(1);
    stream.entry.set_mss_clamp(536);
    const auto *data = reinterpret_cast<const std::byte *>(entry.ext().unread().data());
    stream.queues.assign(data, data + entry.ext().unread().size());
    TRY(enter_repair(fd));
    return rebuild_tcp_stream(outside, fd, stream, {.connected = true}, local, peer);
}

Result<void> reset_remains(int fd, const img::inet_sk_entry &entry) {
    const auto local = TRY(local_endpoint(fd));
    const auto peer = peer_endpoint(fd);
    if (!peer)
        return base::fail(base::ErrorKind::Bug, "a TCP connection that is to be reset has no peer");
    TRY(inject_segment({.from = *peer,
                        .to = local,
                        .sequence = 1u + static_cast<uint32_t>(entry.ext().unread().size()),
                        .acknowledged = 1,
                        .reset = true}));
    TRY(wait_for_state(fd, TCP_CLOSE));
    int error = 0;
    if (!entry.ext().error())
        get_int_option(fd, SOL_SOCKET, SO_ERROR, &error); // takes it away
    return {};
}

/// What has ended in the image ends again.
Result<void> end_directions(int fd, const img::inet_sk_entry &entry, const TcpStream &stream) {
    const TcpPhase phase = phase_of(entry.state());
    // Our end goes first where it did: CLOSING, as opposed to LAST_ACK.
    const bool peer_first = entry.state() != TCP_CLOSING;
    const TcpNumbers numbers = numbers_of(stream.entry, phase);
    TcpSegment segment{.from = TRY(read_peer(entry)),
                       .to = TRY(read_local(entry)),
                       .sequence = numbers.in_end,
                       .acknowledged = numbers.out_begin};
    segment.window = static_cast<uint16_t>(std::min(stream.entry.snd_wnd() >> stream.entry.snd_wscale(), 0xffffu));
    auto receive_end = [&](uint32_t wanted) -> Result<void> {
        segment.fin = true;
        TRY(inject_segment(segment));
        return wait_for_state(fd, wanted);
    };
    if (phase.end_received && peer_first)
        TRY(receive_end(TCP_CLOSE_WAIT));
    TRY(finish_tcp_stream(fd, stream, phase));
    if (phase.end_received && !peer_first)
        TRY(receive_end(TCP_CLOSING));
    if (phase.end_acked) {
        segment.acknowledged = numbers.out_end + 1;
        TRY(inject_segment(segment));
        TRY(wait_for_state(fd, TCP_FIN_WAIT2));
    }
    if (phase.end_received || phase.end_acked)
        TRY(restore_tcp_window(fd, stream.entry, phase));
    if (entry.shutdown() == img::READ && !phase.end_received && shutdown(fd, SHUT_RD) < 0)
        return base::fail_sys("shut down the reading side of a TCP connection");
    return {};
}

Result<void> complete_closed(int fd, const img::inet_sk_entry &entry) {
    if (has_remains(entry))
        return reset_remains(fd, entry);
    // The kernel sets the mark although it answers that there is no connection.
    if (entry.ext().ended() || entry.shutdown() == img::BOTH)
        (void)shutdown(fd, SHUT_RDWR);
    return {};
}

} // namespace

Result<base::UniqueFd> open_tcp(FileOpenContext &context, const img::inet_sk_entry &entry) {
    auto fd = TRY(create_inet(entry));
    const Endpoint local = TRY(read_local(entry));
    if (is_connection(entry)) {
        if (context.options.tcp_close)
            return fd;
        if (!context.options.tcp_established)
            return base::fail(
                base::Error(base::ErrorKind::Unsupported,
                            fmt::format("a TCP connection ({} -> {})", to_text(local), to_text(TRY(read_peer(entry)))))
                    .hint("--tcp-established keeps it, --tcp-close restores it as closed"));
        if (context.states.of<TcpRestore>().waits(context, entry))
            TRY(bind_inet(context, fd.get(), entry, local));
        else
            TRY(open_stream(context, fd.get(), entry));
        return fd;
    }
    if (entry.state() != TCP_LISTEN && entry.state() != TCP_CLOSE)
        return base::bad_image(fmt::format("a TCP socket in the state {}", entry.state()));
    if (has_remains(entry))
        TRY(open_remains(context.outside, fd.get(), entry));
    // The address of a connection that is over is not held any more, unless others may have it as well.
    else if (local.is_set() && (!entry.ext().ended() || entry.opts().reuseaddr()))
        TRY(bind_inet(context, fd.get(), entry, local));
    return fd;
}

Result<void> complete_tcp(FileOpenContext &context, int fd, const img::inet_sk_entry &entry) {
    auto &streams = context.states.of<TcpRestore>().streams;
    if (auto stream = streams.find(entry.id()); stream != streams.end()) {
        if (entry.state() != TCP_SYN_SENT)
            TRY(end_directions(fd, entry, stream->second));
        streams.erase(stream);
    } else if (is_connection(entry) && context.options.tcp_close) {
        (void)shutdown(fd, SHUT_RDWR);
    }
    if (entry.state() == TCP_LISTEN) {
        TRY(listen_inet(context, fd, entry));
        if (!context.options.tcp_close)
            TRY(restore_pending(context, entry));
    } else if (entry.state() == TCP_CLOSE) {
        TRY(complete_closed(fd, entry));
    }
    return finish_inet(context.outside, fd, entry);
}

Result<void> release_tcp(int fd, const img::inet_sk_entry &entry) {
    if (!is_connection(entry) && !has_remains(entry))
        return {};
    int repair = 0;
    if (get_int_option(fd, SOL_TCP, TCP_REPAIR, &repair) < 0 || !repair)
        return {}; // --tcp-close
    TRY(leave_repair(fd, entry.opts().reuseaddr()));
    if (entry.state() != TCP_SYN_SENT)
        return {};
    const Endpoint peer = TRY(read_peer(entry));
    const SocketAddress to = to_sockaddr(peer);
    const int flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    const bool under_way = connect(fd, to.get(), to.length) == 0 || errno == EINPROGRESS;
    const int error = errno;
    fcntl(fd, F_SETFL, flags);
    return under_way ? Result<void>{} : base::fail_sys(error, fmt::format("connect to {}", to_text(peer)));
}

} // namespace resource
