// Fills the queues of unix sockets, by sending again what waited in them. Streams and sequenced packets come from the
// peer. A datagram comes from a socket that has its sender's name; a socket with a peer takes datagrams from that one
// only, but may hold older ones: these are sent before it is connected.
#include "criu/resource/socket/unix/unix_late_queue.hh"
#include "criu/resource/socket/unix/unix_restore.hh"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

namespace resource {
namespace {

/// A message with its control data, to be sent.
class Message {
public:
    static Result<Message> of(const FileOpenContext &context, const SkPacket &packet) {
        Message message(packet);
        std::vector<int> fds;
        for (const img::scm_entry &scm : packet.message.scm()) {
            if (scm.type() != kScmRights)
                return base::unsupported(fmt::format("sk-queues.img: control messages of type {}", scm.type()));
            for (uint32_t id : scm.rights()) {
                auto opened = context.opened.find(id);
                auto file = context.files.find(id);
                if (file != context.files.end() && can_be_passed_late(file->second)) {
                    message.stand_ins_.push_back(TRY(late_stand_in()));
                    fds.push_back(message.stand_ins_.back().get());
                    continue;
                }
                if (opened == context.opened.end())
                    return base::unsupported(fmt::format("file {} is on its way through a unix socket, and its kind "
                                                         "can only be opened later",
                                                         id));
                fds.push_back(opened->second);
            }
        }
        if (fds.size() > kMaxPassed)
            return base::bad_image("sk-queues.img: too many files in a message");
        if (!fds.empty())
            message.add_control(SCM_RIGHTS, fds.data(), fds.size() * sizeof(int));
        const img::ext_sk_packet &ext = packet.message.ext();
        if (ext.has_creds()) {
            // 0: a process that nobody can see from inside of the pid namespace, or none any more.
            const auto sender = static_cast<pid_t>(ext.creds().pid());
            message.creds_ = {sender ? sender : getpid(), ext.creds().uid(), ext.creds().gid()};
            message.add_control(SCM_CREDENTIALS, &message.creds_, sizeof message.creds_);
        }
        return message;
    }

    const ucred &creds() const { return creds_; }
    bool out_of_band() const { return packet_->message.ext().out_of_band(); }
    size_t size() const { return packet_->payload.size(); }

    /// Sends all or, if `out_of_band`, all but the last byte.
    ssize_t send_to(int fd, const UnixAddress *target) const {
        iovec part{const_cast<std::byte *>(packet_->payload.data()), size() - (out_of_band() ? 1 : 0)};
        msghdr head{};
        head.msg_iov = &part;
        head.msg_iovlen = 1;
        head.msg_control = control_.empty() ? nullptr : const_cast<char *>(control_.data());
        head.msg_controllen = control_.size();
        if (target) {
            head.msg_name = const_cast<sockaddr *>(target->get());
            head.msg_namelen = target->length;
        }
        if (part.iov_len == 0 && out_of_band())
            return 0;
        return sendmsg(fd, &head, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    bool send_out_of_band(int fd) const {
        return send(fd, &packet_->payload.back(), 1, MSG_OOB | MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
    }

private:
    explicit Message(const SkPacket &packet) : packet_(&packet) {}

    void add_control(int type, const void *data, size_t size) {
        const size_t at = control_.size();
        control_.resize(at + CMSG_SPACE(size));
        cmsghdr head{};
        head.cmsg_len = CMSG_LEN(size);
        head.cmsg_level = SOL_SOCKET;
        head.cmsg_type = type;
        std::memcpy(control_.data() + at, &head, sizeof head);
        std::memcpy(control_.data() + at + CMSG_LEN(0), data, size);
    }

    const SkPacket *packet_;
    std::string control_;
    std::vector<base::UniqueFd> stand_ins_; ///< of files that are opened late
    ucred creds_{};
};

class QueueFiller {
public:
    QueueFiller(FileOpenContext &context, UnixRestoreState &state) : context_(context), state_(state) {
        for (auto &[inode, node] : state.nodes) {
            if (node.external() || !node.is(SOCK_DGRAM))
                continue;
            if (!node.entry->name().empty())
                named_.emplace(node.entry->name(), &node);
            if (node.entry->peer())
                sender_to_.emplace(node.entry->peer(), &node);
        }
    }

    Result<void> fill_all() {
        for (WaitingClient &waiting : state_.waiting)
            if (waiting.pending)
                TRY_CTX(fill_from(waiting.fd(), waiting.pending->queue()), "a connection that waits");
        for (auto &[inode, node] : state_.nodes)
            if (!node.external() && !node.is(SOCK_DGRAM))
                TRY_CTX(fill_connected(node), fmt::format("unix socket {}", inode));
        const std::vector<UnixNode *> order = TRY(connecting_order());
        for (auto phase : {&QueueFiller::fill_unconnected, &QueueFiller::connect, &QueueFiller::fill_rest})
            for (UnixNode *node : order)
                TRY_CTX((this->*phase)(*node), fmt::format("unix socket {}", node->entry->ino()));
        return {};
    }

private:
    std::span<const SkPacket> packets_of(uint32_t queue) const {
        auto found = state_.queues.find(queue);
        return found == state_.queues.end() ? std::span<const SkPacket>() : found->second;
    }

    /// Room for everything, whatever buffer the sender has.
    void make_room(int fd) {
        const int size = INT32_MAX / 2;
        context_.outside.force_buffer(fd, SO_SNDBUFFORCE, size);
    }

    /// The kernel lets us name any process as the sender, as long as it exists.
    Result<void> send_as(const Message &message, int fd, const UnixAddress *target) {
        auto attempt = [&]() -> Result<void> {
            const ssize_t n = message.send_to(fd, target);
            if (n < 0)
                return base::fail_sys("send what waited in a unix socket");
            if (message.out_of_band() && !message.send_out_of_band(fd))
                return base::fail_sys("send an out-of-band byte");
            const size_t wanted = message.size() - (message.out_of_band() ? 1 : 0);
            return static_cast<size_t>(n) == wanted ? Result<void>()
                                                    : base::fail_sys(EAGAIN, "send what waited in a unix socket");
        };
        Result<void> sent = attempt();
        if (sent || sent.error().code() != ESRCH || !message.creds().pid)
            return sent;
        Identity identity = own_identity();
        identity.pid = static_cast<uint32_t>(message.creds().pid);
        return run_as(context_.log, identity, attempt);
    }

    Result<void> send_packet(const SkPacket &packet, int fd, const UnixAddress *target) {
        const Message message = TRY(Message::of(context_, packet));
        if (message.out_of_band() && message.size() == 0)
            return base::bad_image("sk-queues.img: an out-of-band byte is missing");
        auto sent = send_as(message, fd, target);
        if (!sent && sent.error().code() == EAGAIN)
            return base::fail(std::move(std::move(sent).error().hint("raise /proc/sys/net/unix/max_dgram_qlen to what "
                                                                     "it was at the checkpoint")));
        return sent;
    }

    Result<void> fill_from(int sender, uint32_t queue) {
        auto packets = packets_of(queue);
        if (packets.empty())
            return {};
        make_room(sender);
        for (const SkPacket &packet : packets)
            TRY(send_packet(packet, sender, nullptr));
        return {};
    }

    Result<void> fill_connected(UnixNode &node) {
        if (packets_of(node.id.value).empty())
            return {};
        const UnixNode *peer = state_.find(node.entry->peer());
        const int sender = node.gone ? node.gone.get() : peer && !peer->external() ? peer->fd() : -1;
        if (sender < 0)
            return base::bad_image("sk-queues.img: something waits in a socket that is not connected");
        return fill_from(sender, node.id.value);
    }

    // ---- datagrams

    /// A socket that has a peer can be connected to by nobody else: those that are come before it.
    Result<std::vector<UnixNode *>> connecting_order() {
        auto waits_for = [&](const UnixNode &node) -> UnixNode * {
            UnixNode *peer = node.entry->peer() ? state_.find(node.entry->peer()) : nullptr;
            const bool mutual = peer && peer->entry->peer() == node.entry->ino();
            return peer && peer->is(SOCK_DGRAM) && !peer->external() && !mutual ? peer : nullptr;
        };
        std::unordered_map<const UnixNode *, size_t> before;
        std::vector<UnixNode *> order;
        size_t count = 0;
        for (auto &[inode, node] : state_.nodes)
            if (node.is(SOCK_DGRAM) && !node.external()) {
                count++;
                if (UnixNode *peer = waits_for(node))
                    before[peer]++;
            }
        for (auto &[inode, node] : state_.nodes)
            if (node.is(SOCK_DGRAM) && !node.external() && !before.contains(&node))
                order.push_back(&node);
        for (size_t i = 0; i < order.size(); i++)
            if (UnixNode *peer = waits_for(*order[i]); peer && --before[peer] == 0)
                order.push_back(peer);
        if (order.size() != count)
            return base::bad_image("files.img: unix sockets are each other's peers in a circle");
        return order;
    }

    /// The socket that it gets its datagrams from, connected already or later.
    UnixNode *partner(const UnixNode &node) {
        UnixNode *peer = node.entry->peer() ? state_.find(node.entry->peer()) : nullptr;
        if (peer && !peer->external())
            return peer;
        auto other = sender_to_.find(node.entry->ino());
        return !node.entry->peer() && node.entry->name().empty() && other != sender_to_.end() ? other->second : nullptr;
    }

    bool from_partner(const UnixNode &node, const SkPacket &packet) {
        if (node.gone)
            return true;
        const UnixNode *other = partner(node);
        const img::ext_sk_packet &ext = packet.message.ext();
        return other && (!ext.has_sender() || ext.sender() == other->entry->name());
    }

    /// How many packets came before the socket was connected.
    size_t unconnected(const UnixNode &node, std::span<const SkPacket> packets) {
        size_t count = packets.size();
        if (node.entry->peer())
            while (count && from_partner(node, packets[count - 1]))
                count--;
        else if (node.entry->name().empty())
            count = 0; // the end of a pair that has let go of its peer
        return count;
    }

    Result<void> fill_unconnected(UnixNode &node) {
        const auto packets = packets_of(node.id.value);
        // Ends of a pair are each other's now; later one of them may not be.
        if (node.connected) {
            done_[&node] = packets.size();
            return send_directly(node, packets);
        }
        const size_t count = done_[&node] = unconnected(node, packets);
        if (count == 0)
            return {};
        const UnixTarget target = TRY(UnixTarget::of(node.fd()));
        for (const SkPacket &packet : packets.first(count))
            TRY(send_packet(packet, TRY(sender_of(node, packet)), &target.address()));
        return {};
    }

    Result<void> fill_rest(UnixNode &node) {
        return send_directly(node, packets_of(node.id.value).subspan(done_[&node]));
    }

    /// From the socket that has this one as its peer; or, if it is the other way round only, to its name.
    Result<void> send_directly(UnixNode &node, std::span<const SkPacket> packets) {
        if (packets.empty())
            return {};
        const UnixNode *other = partner(node);
        const int sender = node.gone ? node.gone.get() : other ? other->fd() : -1;
        if (sender < 0)
            return base::bad_image("sk-queues.img: datagrams wait in a socket that nobody can send to");
        make_room(sender);
        const bool by_name = !node.connected && other && other->entry->peer() != node.entry->ino();
        const UnixTarget target = by_name ? TRY(UnixTarget::of(node.fd())) : UnixTarget();
        for (const SkPacket &packet : packets)
            TRY(send_packet(packet, sender, by_name ? &target.address() : nullptr));
        return {};
    }

    Result<int> sender_of(UnixNode &node, const SkPacket &packet) {
        if (from_partner(node, packet) && partner(node))
            return partner(node)->fd();
        const std::string &name = packet.message.ext().sender();
        if (auto living = named_.find(name); !name.empty() && living != named_.end())
            return living->second->fd();
        base::UniqueFd &stand_in = stand_ins_[name];
        if (stand_in)
            return stand_in.get();
        stand_in = TRY(new_unix_socket(SOCK_DGRAM));
        make_room(stand_in.get());
        if (!name.empty())
            TRY_CTX(bind_unix_sockets(state_, {{stand_in.get(), name, nullptr}}), "the sender of a datagram");
        return stand_in.get();
    }

    Result<void> connect(UnixNode &node) {
        if (node.connected)
            return {};
        const UnixNode *peer = node.entry->peer() ? state_.find(node.entry->peer()) : nullptr;
        if (!peer && node.entry->peer())
            return base::bad_image(fmt::format("files.img: its peer {} is missing", node.entry->peer()));
        if (!peer)
            return disconnect(node);
        if (peer->external())
            return connect_outside(node, *peer->entry);
        return TRY(UnixTarget::of(peer->fd())).connect(node.fd());
    }

    /// An end of a pair may have been taken off its peer, which still has it.
    Result<void> disconnect(UnixNode &node) {
        if (!sender_to_.contains(node.entry->ino()) || !node.entry->name().empty())
            return {};
        const sockaddr none{AF_UNSPEC, {}};
        if (::connect(node.fd(), &none, sizeof none.sa_family) < 0)
            return base::fail_sys("disconnect a unix socket");
        return {};
    }

    static Result<void> connect_outside(UnixNode &node, const img::unix_sk_entry &outsider) {
        const UnixAddress address = TRY(unix_address(outsider.name()));
        if (::connect(node.fd(), address.get(), address.length) == 0)
            return {};
        return base::fail(std::move(
            base::Error::sys(fmt::format("connect to {}, outside of the tree", show_unix_name(outsider.name())))
                .hint("its server has to run when the tree is restored")));
    }

    FileOpenContext &context_;
    UnixRestoreState &state_;
    std::unordered_map<std::string, UnixNode *> named_;
    std::unordered_map<uint32_t, UnixNode *> sender_to_;
    std::unordered_map<const UnixNode *, size_t> done_; ///< packets that were sent already
    std::map<std::string, base::UniqueFd> stand_ins_;
};

} // namespace

Result<void> fill_unix_queues(FileOpenContext &context, UnixRestoreState &state) {
    return QueueFiller(context, state).fill_all();
}

} // namespace resource
