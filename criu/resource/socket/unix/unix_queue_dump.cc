// What waits in a unix socket, read without taking it out. Each image entry is one packet; of a stream, what one call
// returns: the kernel does not read past descriptors, nor past a change of credentials, nor past an out-of-band byte.
#include "criu/resource/socket/option_list.hh"
#include "criu/resource/socket/unix/unix_late_queue.hh"
#include "criu/resource/socket/unix/unix_socket.hh"
#include "sk-packet.pb.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

namespace resource {
namespace {

constexpr size_t kBuffer = 256u << 10; // more than what SO_SNDBUF allows by default
constexpr int kScmPidfd = 0x04;

struct Packet {
    std::vector<std::byte> bytes;
    std::vector<base::UniqueFd> passed;
    std::optional<ucred> sender;
    std::string address;
    bool out_of_band = false;
};

/// Peeks at packets one after the other.
class QueueReader {
public:
    QueueReader(int fd, int type) : fd_(fd), type_(type) {
        credentials_ = int_option(fd, SOL_SOCKET, SO_PASSCRED) == 1;
        int bytes = 0;
        if (ioctl(fd, SIOCINQ, &bytes) == 0) // of datagrams: those of the first
            waiting_ = static_cast<size_t>(std::max(bytes, 0));
    }

    /// Nothing is left: no packet.
    Result<std::optional<Packet>> next() {
        Packet packet;
        for (;;) {
            msghdr message = prepare();
            const ssize_t n = recvmsg(fd_, &message, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
            if (n < 0 && errno == EAGAIN)
                return std::nullopt;
            if (n < 0 && errno == ECONNRESET && is_stream()) // behind the last byte
                return std::nullopt;
            if (n < 0 && errno == ECONNRESET) // in front of the first packet; the socket's entry has it already
                continue;
            if (n < 0)
                return base::fail_sys("peek at a socket's queue");
            TRY(take_control(message, packet));
            const auto size = static_cast<size_t>(n);
            if (size > buffer_.size()) {
                buffer_.resize(size);
                TRY(set_peek_offset(fd_, static_cast<int>(seen_)));
                packet = {};
                continue;
            }
            packet.bytes.assign(buffer_.begin(), buffer_.begin() + n);
            address_.length = message.msg_namelen;
            packet.address = unix_name(address_);
            seen_ += size;
            return packet;
        }
    }

    bool is_stream() const { return type_ == SOCK_STREAM; }
    bool sees_credentials() const { return credentials_; }
    size_t waiting() const { return waiting_; } ///< bytes; of datagrams, those of the first
    size_t seen() const { return seen_; }
    void rewind() { seen_ = 0; }

private:
    msghdr prepare() {
        if (buffer_.empty()) // most queues are, and are not looked at
            buffer_.resize(std::max(kBuffer, waiting_));
        part_ = {buffer_.data(), buffer_.size()};
        address_ = {};
        msghdr message{};
        message.msg_name = address_.get();
        message.msg_namelen = sizeof address_.address;
        message.msg_iov = &part_;
        message.msg_iovlen = 1;
        message.msg_control = control_;
        message.msg_controllen = sizeof control_;
        return message;
    }

    Result<void> take_control(msghdr &message, Packet &packet) {
        for (cmsghdr *head = CMSG_FIRSTHDR(&message); head; head = CMSG_NXTHDR(&message, head)) {
            const size_t size = head->cmsg_len - CMSG_LEN(0);
            if (head->cmsg_level != SOL_SOCKET)
                continue;
            if (head->cmsg_type == SCM_RIGHTS || head->cmsg_type == kScmPidfd)
                for (size_t i = 0; i + sizeof(int) <= size; i += sizeof(int)) {
                    int fd;
                    std::memcpy(&fd, CMSG_DATA(head) + i, sizeof fd);
                    base::UniqueFd owned(fd);
                    if (head->cmsg_type == SCM_RIGHTS)
                        packet.passed.push_back(std::move(owned));
                }
            if (head->cmsg_type == SCM_CREDENTIALS && size >= sizeof(ucred)) {
                ucred sender;
                std::memcpy(&sender, CMSG_DATA(head), sizeof sender);
                if (sender.pid > 0) // 0: it was sent without
                    packet.sender = sender;
            }
        }
        if (message.msg_flags & MSG_CTRUNC)
            return base::fail(std::move(base::Error(base::ErrorKind::System, "descriptors in a queue did not all fit")
                                            .hint("raise the limit on open files (ulimit -n)")));
        return {};
    }

    int fd_, type_;
    std::vector<std::byte> buffer_;
    iovec part_{};
    UnixAddress address_;
    alignas(cmsghdr) char control_[CMSG_SPACE(kMaxPassed * sizeof(int)) + 1024];
    bool credentials_ = false;
    size_t waiting_ = 0, seen_ = 0;
};

/// Whether its reader is yet to be told that the connection was reset. SO_ERROR would take that away.
bool is_reset(int fd) {
    pollfd error{fd, 0, 0};
    return poll(&error, 1, 0) == 1 && (error.revents & POLLERR);
}

/// The byte that was sent with MSG_OOB and was not read yet.
std::optional<std::byte> out_of_band_byte(int fd) {
    std::byte byte;
    if (recv(fd, &byte, 1, MSG_PEEK | MSG_OOB | MSG_DONTWAIT) != 1)
        return std::nullopt;
    return byte;
}

/// Marks the byte in what was read of a stream. Reading stops in front of it; standing right before it, peeking skips
/// it.
void place_out_of_band(int fd, std::byte byte, std::vector<Packet> &packets) {
    int at_mark = 0;
    if (ioctl(fd, SIOCATMARK, &at_mark) == 0 && at_mark) {
        Packet urgent;
        urgent.bytes = {byte};
        urgent.out_of_band = true;
        packets.insert(packets.begin(), std::move(urgent));
        return;
    }
    for (size_t i = 0; i + 1 < packets.size(); i++) {
        Packet &next = packets[i + 1];
        if (!packets[i].passed.empty() || next.bytes.empty() || next.bytes.front() != byte)
            continue;
        packets[i].bytes.push_back(byte);
        packets[i].out_of_band = true;
        next.bytes.erase(next.bytes.begin());
        if (next.bytes.empty() && next.passed.empty())
            packets.erase(packets.begin() + static_cast<ptrdiff_t>(i) + 1);
        return;
    }
}

Result<std::vector<Packet>> read_stream(FileDumpContext &context, int fd, QueueReader &reader) {
    std::vector<Packet> packets;
    if (reader.waiting() == 0)
        return packets;
    const auto urgent = out_of_band_byte(fd);
    const bool own_offset = int_option(fd, SOL_SOCKET, SO_PEEK_OFF, -1) >= 0;
    // Mostly one look is enough, and the socket's offset can be left alone.
    if (!urgent && !own_offset) {
        if (auto packet = TRY(reader.next()))
            packets.push_back(std::move(*packet));
        if (reader.seen() >= reader.waiting())
            return packets;
        packets.clear();
        reader.rewind();
    }
    const bool ends = is_reset(fd); // which a look behind the last byte would take away
    TRY(context.states.of<PeekGuard>().walk(fd, [&]() -> Result<void> {
        while (!ends || reader.seen() < reader.waiting()) {
            auto packet = TRY(reader.next());
            if (!packet || packet->bytes.empty())
                break;
            packets.push_back(std::move(*packet));
        }
        return {};
    }));
    if (urgent)
        place_out_of_band(fd, *urgent, packets);
    return packets;
}

/// Whether that is no packet but the end of a connection whose other side has gone since we began: it never ends.
bool is_end(int fd, const Packet &packet) {
    pollfd ready{fd, POLLRDHUP, 0};
    return packet.bytes.empty() && packet.passed.empty() && poll(&ready, 1, 0) == 1 && (ready.revents & POLLRDHUP);
}

// A packet of no bytes cannot be told from the end of a connection that was shut down; after the last byte it looks the
// same to the reader as well, and is left out.
Result<std::vector<Packet>> read_packets(FileDumpContext &context, int fd, int type, QueueReader &reader) {
    std::vector<Packet> packets;
    pollfd ready{fd, POLLIN | POLLRDHUP, 0};
    if (poll(&ready, 1, 0) != 1 || !(ready.revents & POLLIN))
        return packets;
    // Where packets have boundaries, whoever looks at them is told first that the connection was reset, and only once.
    if (context.options.tree_survives && is_reset(fd))
        return base::fail(base::Error(base::ErrorKind::Unsupported,
                                      "its connection was reset while packets wait in it: looking at them takes the "
                                      "error away that the program is to get")
                              .hint("dump without --leave-running and --leave-stopped, or again when the program has "
                                    "read from it"));
    const bool may_end = type == SOCK_SEQPACKET && (ready.revents & POLLRDHUP);
    TRY(context.states.of<PeekGuard>().walk(fd, [&]() -> Result<void> {
        while (!may_end || reader.seen() < reader.waiting()) {
            auto packet = TRY(reader.next());
            if (!packet || (type == SOCK_SEQPACKET && is_end(fd, *packet)))
                break;
            packets.push_back(std::move(*packet));
        }
        return {};
    }));
    return packets;
}

/// How much memory packets take, by trying.
class PacketSizes {
public:
    Result<uint32_t> of(size_t bytes) {
        auto known = sizes_.find(bytes);
        if (known != sizes_.end())
            return known->second;
        int ends[2], before = 0, after = 0;
        if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
            return base::fail_sys("socketpair");
        base::UniqueFd one(ends[0]), other(ends[1]);
        const std::vector<char> data(bytes);
        if (ioctl(one.get(), SIOCOUTQ, &before) < 0 || send(one.get(), data.data(), bytes, 0) < 0 ||
            ioctl(one.get(), SIOCOUTQ, &after) < 0)
            return base::fail_sys("measure a packet");
        return sizes_[bytes] = static_cast<uint32_t>(after - before);
    }

private:
    std::map<size_t, uint32_t> sizes_;
};

// Peeking past an empty packet marks it, and from then on peeks leave it out: a second dump cannot find it. What the
// peer has sent takes more memory then than what was found. Only packets of one page are sure to be measured right.
Result<void> check_hidden(FileDumpContext &context, uint32_t inode, const std::vector<Packet> &packets) {
    constexpr size_t kMeasurable = 2048;
    const auto &sockets = context.states.of<UnixDumpState>().sockets;
    auto own = sockets.find(inode);
    auto peer = own != sockets.end() && own->second.peer ? sockets.find(*own->second.peer) : sockets.end();
    if (peer == sockets.end() || peer->second.peer != inode || !peer->second.name.empty() ||
        !own->second.name.empty() ||
        std::ranges::any_of(packets, [](const Packet &packet) { return packet.bytes.size() > kMeasurable; }))
        return {};
    PacketSizes &sizes = context.states.of<PacketSizes>();
    uint64_t found = 0;
    for (const Packet &packet : packets)
        found += TRY(sizes.of(packet.bytes.size()));
    const uint64_t sent = peer->second.send_queue;
    if (sent > found && (sent - found) % TRY(sizes.of(0)) == 0)
        return base::fail(base::Error(base::ErrorKind::Unsupported,
                                      "an empty packet waits in it that an earlier dump has looked at: its place among "
                                      "the others can no longer be told")
                              .hint("dump again when it was received"));
    return {};
}

Result<void> write(FileDumpContext &context, uint32_t id, int type, Packet &packet) {
    img::sk_packet_entry entry;
    entry.set_id_for(id);
    entry.set_length(static_cast<uint32_t>(packet.bytes.size()));
    if (!packet.passed.empty()) {
        img::scm_entry *scm = entry.add_scm();
        scm->set_type(kScmRights);
        for (base::UniqueFd &fd : packet.passed)
            scm->add_rights(TRY(context.dump_passed(std::move(fd))).value);
    }
    if (type == SOCK_DGRAM)
        entry.mutable_ext()->set_sender(packet.address);
    if (packet.out_of_band)
        entry.mutable_ext()->set_out_of_band(true);
    if (packet.sender) {
        img::ext_credentials *creds = entry.mutable_ext()->mutable_creds();
        creds->set_pid(static_cast<uint32_t>(context.pids.inside(base::Pid(packet.sender->pid)).value));
        creds->set_uid(packet.sender->uid);
        creds->set_gid(packet.sender->gid);
    }
    return context.images.add(image::ImageKind::SkQueues, 0, entry, packet.bytes);
}

/// Whether the messages can be received and sent once more when they are restored: both ends are each other's, and no
/// message says more than its bytes, descriptors and credentials.
bool can_pass_through(FileDumpContext &context, uint32_t inode, const std::vector<Packet> &packets) {
    const auto &sockets = context.states.of<UnixDumpState>().sockets;
    const auto own = sockets.find(inode);
    const auto peer = own != sockets.end() && own->second.peer ? sockets.find(*own->second.peer) : sockets.end();
    return peer != sockets.end() && peer->second.peer == inode &&
           std::ranges::none_of(packets,
                                [](const Packet &packet) { return packet.out_of_band || !packet.address.empty(); });
}

} // namespace

Result<void> dump_unix_queue(FileDumpContext &context, int fd, int type, uint32_t id, uint32_t inode) {
    QueueReader reader(fd, type);
    auto packets = TRY(reader.is_stream() ? read_stream(context, fd, reader) : read_packets(context, fd, type, reader));
    if (!reader.is_stream())
        TRY(check_hidden(context, inode, packets));
    // A queue may be reached by way of another one that is being dumped.
    bool &possible = context.states.of<LatePassing>().possible;
    const bool outer = std::exchange(possible, false), own = can_pass_through(context, inode, packets);
    for (Packet &packet : packets) {
        possible = own;
        TRY_CTX(write(context, id, type, packet), "what waits in it");
    }
    possible = outer;
    return {};
}

} // namespace resource
