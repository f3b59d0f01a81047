// Netlink sockets: a port id, groups, a peer. Messages that were not read yet cannot be put back under the sender's
// name when that is the kernel, and all but the first cannot even be looked at without reading them. NETLINK_USERSOCK
// is different: there, only programs send, and any port id can be taken on for a moment.
//
// Who listens to a group has to expect that notifications get lost: the next read says so (ENOBUFS), and he asks for
// the state anew. That is what unread notifications become. A socket without groups has answers in it: refused.
#include "criu/kernel/netlink.hh"
#include "criu/resource/file/file.hh"
#include "criu/resource/socket/option_list.hh"
#include "criu/resource/socket/socket_options.hh"
#include "sk-packet.pb.h"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <linux/netlink.h>
#include <linux/netlink_diag.h>
#include <linux/sock_diag.h>
#include <poll.h>
#include <sys/socket.h>
#include <unordered_map>

namespace resource::netlink_socket {
namespace {

constexpr uint32_t kConnected = 1; // netlink_sk_entry.state
constexpr size_t kMaxGroups = 1u << 16;

constexpr SocketOption kOptions[] = {
    {SOL_NETLINK, NETLINK_PKTINFO, "NETLINK_PKTINFO", 0},
    {SOL_NETLINK, NETLINK_BROADCAST_ERROR, "NETLINK_BROADCAST_ERROR", 0},
    {SOL_NETLINK, NETLINK_NO_ENOBUFS, "NETLINK_NO_ENOBUFS", 0},
    {SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, "NETLINK_LISTEN_ALL_NSID", 0},
    {SOL_NETLINK, NETLINK_CAP_ACK, "NETLINK_CAP_ACK", 0},
    {SOL_NETLINK, NETLINK_EXT_ACK, "NETLINK_EXT_ACK", 0},
    {SOL_NETLINK, NETLINK_GET_STRICT_CHK, "NETLINK_GET_STRICT_CHK", 0},
};

// ---- dump ----------------------------------------------------------------------------------------------------------

bool matches(const OpenFile &file) {
    return file.family == AF_NETLINK;
}

/// States of all netlink sockets by inode; only the kernel's list tells them. Empty where it has none.
struct States {
    bool loaded = false;
    std::unordered_map<uint32_t, uint32_t> by_inode;
};

/// Adds those of the thread's network namespace.
Result<void> list_states(States &states) {
    struct {
        nlmsghdr head;
        netlink_diag_req body;
    } request{};
    request.body.sdiag_family = AF_NETLINK;
    request.body.sdiag_protocol = NDIAG_PROTO_ALL;
    return kernel::netlink_dump(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, &request, sizeof request,
                                [&](std::string_view body) -> Result<void> {
                                    const auto message = kernel::value_of<netlink_diag_msg>(body);
                                    states.by_inode[message.ndiag_ino] = message.ndiag_state;
                                    return {};
                                });
}

const States &load_states(FileDumpContext &context) {
    States &states = context.states.of<States>();
    if (std::exchange(states.loaded, true))
        return states;
    auto listed = context.networks.in_each([&](uint32_t) { return list_states(states); });
    if (!listed)
        context.log.debug("netlink sockets cannot be listed: " + listed.error().message());
    return states;
}

/// Queues and logs of the packet filter belong to a port id in a way that cannot be read back.
Result<void> refuse_filter_user(uint32_t protocol, uint32_t portid) {
    for (const char *name : {"nfnetlink_queue", "nfnetlink_log"}) {
        std::ifstream list(fmt::format("/proc/net/netfilter/{}", name));
        uint64_t number, user;
        std::string line;
        while (protocol == NETLINK_NETFILTER && portid && std::getline(list, line))
            if (sscanf(line.c_str(), "%lu %lu", &number, &user) == 2 && user == portid)
                return base::unsupported(fmt::format("it reads packets from the packet filter ({} {})", name, number));
    }
    return {};
}

Result<void> dump_groups(int fd, img::netlink_sk_entry *entry) {
    socklen_t size = 0;
    if (getsockopt(fd, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, nullptr, &size) < 0)
        return base::fail_sys("NETLINK_LIST_MEMBERSHIPS");
    std::vector<uint32_t> groups(size / sizeof(uint32_t) + 1);
    size = static_cast<socklen_t>(groups.size() * sizeof(uint32_t));
    if (getsockopt(fd, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, groups.data(), &size) < 0)
        return base::fail_sys("NETLINK_LIST_MEMBERSHIPS");
    while (!groups.empty() && groups.back() == 0)
        groups.pop_back();
    for (uint32_t word : groups)
        entry->add_groups(word);
    return {};
}

Result<void> dump_addresses(FileDumpContext &context, const OpenFile &file, img::netlink_sk_entry *entry) {
    sockaddr_nl own{}, peer{};
    socklen_t size = sizeof own;
    if (getsockname(file.fd, reinterpret_cast<sockaddr *>(&own), &size) < 0)
        return base::fail_sys("getsockname");
    size = sizeof peer;
    if (getpeername(file.fd, reinterpret_cast<sockaddr *>(&peer), &size) < 0)
        return base::fail_sys("getpeername");
    entry->set_portid(own.nl_pid);
    entry->set_dst_portid(peer.nl_pid);
    entry->set_dst_group(peer.nl_groups ? static_cast<uint32_t>(__builtin_ctz(peer.nl_groups)) + 1 : 0);
    const auto &known = load_states(context).by_inode;
    auto state = known.find(static_cast<uint32_t>(file.stat.st_ino));
    entry->set_state(state != known.end() ? state->second : peer.nl_pid || peer.nl_groups ? kConnected : 0);
    return {};
}

/// Sockets that are read when all else is known to be fine, by the id of their file.
struct Unread {
    std::vector<std::pair<uint32_t, base::UniqueFd>> sockets;
};

/// Reads everything: the tree is about to end.
Result<void> drain(FileDumpContext &context, int fd, uint32_t id) {
    std::vector<std::byte> buffer(1u << 20);
    for (;;) {
        sockaddr_nl sender{};
        socklen_t size = sizeof sender;
        const ssize_t n = recvfrom(fd, buffer.data(), buffer.size(), MSG_DONTWAIT | MSG_TRUNC,
                                   reinterpret_cast<sockaddr *>(&sender), &size);
        if (n < 0 && errno == EAGAIN)
            return {};
        if (n < 0 && errno == ENOBUFS) // noted already
            continue;
        if (n < 0 || static_cast<size_t>(n) > buffer.size())
            return base::fail_sys(n < 0 ? errno : EMSGSIZE, "read what waits in a netlink socket");
        img::sk_packet_entry packet;
        packet.set_id_for(id);
        packet.set_length(static_cast<uint32_t>(n));
        packet.mutable_ext()->set_portid(sender.nl_pid);
        packet.mutable_ext()->set_groups(sender.nl_groups);
        TRY(context.images.add(image::ImageKind::SkQueues, 0, packet, std::span(buffer).first(static_cast<size_t>(n))));
    }
}

constexpr const char *kUnread = "messages wait in it that were not read yet, and nobody but the kernel can send them "
                                "again";

/// Answers of the kernel that nobody can send again.
bool has_answers(const OpenFile &file, uint32_t protocol, bool has_groups) {
    pollfd ready{file.fd, POLLIN, 0};
    return poll(&ready, 1, 0) == 1 && (ready.revents & POLLIN) && protocol != NETLINK_USERSOCK && !has_groups;
}

Result<void> dump_queue(FileDumpContext &context, const OpenFile &file, uint32_t protocol,
                        img::netlink_sk_entry &entry) {
    pollfd ready{file.fd, POLLIN, 0};
    if (poll(&ready, 1, 0) == 1 && (ready.revents & POLLERR))
        entry.mutable_ext()->set_lost(true); // messages before this dump, and the program does not know yet
    if (!(ready.revents & POLLIN))
        return {};
    const bool has_groups = std::ranges::any_of(entry.groups(), [](uint32_t word) { return word != 0; });
    if (has_answers(file, protocol, has_groups)) {
        TRY(lose(context.options.allowed_losses, context.log, Loss::NetlinkAnswers,
                 fmt::format("{}: {}", file.link, kUnread)));
        entry.mutable_ext()->set_lost(true);
        return {};
    }
    if (protocol != NETLINK_USERSOCK && has_groups) {
        context.log.warn(fmt::format("{}: notifications of the kernel that were not read are not kept; a restored "
                                     "program gets ENOBUFS for them",
                                     file.link));
        entry.mutable_ext()->set_lost(true);
        return {};
    }
    if (context.options.tree_survives)
        return base::fail(base::Error(base::ErrorKind::Unsupported,
                                      "messages wait in it, which only a dump that ends the tree can read")
                              .hint("dump without --leave-running and --leave-stopped"));
    base::UniqueFd kept(fcntl(file.fd, F_DUPFD_CLOEXEC, 0));
    if (!kept)
        return base::fail_sys("keep a netlink socket");
    context.destructive_bytes += static_cast<uint32_t>(int_option(file.fd, SOL_SOCKET, SO_RCVBUF));
    context.states.of<Unread>().sockets.emplace_back(file.id.value, std::move(kept));
    return {};
}

Result<bool> drain_all(FileDumpContext &context) {
    const auto sockets = std::exchange(context.states.of<Unread>().sockets, {});
    for (auto &[id, fd] : sockets)
        TRY(drain(context, fd.get(), id));
    return !sockets.empty();
}

Result<void> dump(FileDumpContext &context, const OpenFile &file, img::file_entry &entry) {
    img::netlink_sk_entry *nlsk = entry.mutable_nlsk();
    const auto protocol = static_cast<uint32_t>(int_option(file.fd, SOL_SOCKET, SO_PROTOCOL));
    nlsk->set_id(file.id.value);
    nlsk->set_ino(static_cast<uint32_t>(file.stat.st_ino));
    if (file.net != context.namespaces.root_id(tree::NamespaceKind::Net)) // CRIU knows of no other
        nlsk->set_ns_id(file.net);
    nlsk->set_protocol(protocol);
    nlsk->set_flags(file.flags & ~static_cast<uint32_t>(O_CLOEXEC));
    TRY(dump_addresses(context, file, nlsk));
    TRY(refuse_filter_user(protocol, nlsk->portid()));
    TRY(dump_groups(file.fd, nlsk));
    TRY(dump_owner(context, file, nlsk->mutable_fown()));
    TRY(dump_socket_options(file.fd, nlsk->mutable_opts()));
    nlsk->mutable_ext()->set_type(static_cast<uint32_t>(int_option(file.fd, SOL_SOCKET, SO_TYPE)));
    TRY(dump_option_list(file.fd, kOptions, nlsk->mutable_ext()->mutable_options()));
    return dump_queue(context, file, protocol, *nlsk);
}

Result<void> examine(const OpenFile &file, const Examined &known) {
    img::netlink_sk_entry entry;
    TRY(dump_groups(file.fd, &entry));
    const bool has_groups = std::ranges::any_of(entry.groups(), [](uint32_t word) { return word != 0; });
    const auto protocol = static_cast<uint32_t>(int_option(file.fd, SOL_SOCKET, SO_PROTOCOL));
    if (!has_answers(file, protocol, has_groups))
        return {};
    if (!known.options.allowed_losses.has(Loss::NetlinkAnswers))
        return base::fail(refused_loss(Loss::NetlinkAnswers, kUnread));
    known.warnings.emplace_back(kUnread);
    return {};
}

// ---- restore -------------------------------------------------------------------------------------------------------

Result<void> bind_to(int fd, const img::netlink_sk_entry &entry) {
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_pid = entry.portid();
    if (entry.portid() && bind(fd, reinterpret_cast<const sockaddr *>(&address), sizeof address) < 0) {
        auto error = base::Error::sys(fmt::format("bind a netlink socket to port {}", entry.portid()));
        if (errno == EADDRINUSE)
            error.hint("another process has taken that port id: end it, or restore in a network namespace of its own");
        return base::fail(std::move(error));
    }
    if (static_cast<size_t>(entry.groups_size()) > kMaxGroups / 32)
        return base::bad_image("files.img: a netlink socket in too many groups");
    for (int i = 0; i < entry.groups_size() * 32; i++) {
        const int group = i + 1;
        if ((entry.groups(i / 32) >> (i % 32) & 1) &&
            setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0)
            return base::fail_sys(fmt::format("join netlink group {}", group));
    }
    return {};
}

Result<void> connect_to(int fd, const img::netlink_sk_entry &entry) {
    if (!entry.dst_portid() && !entry.dst_group() && entry.state() != kConnected)
        return {};
    if (entry.dst_group() > 32)
        return base::bad_image("files.img: the peer of a netlink socket is no group that it could be");
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_pid = entry.dst_portid();
    address.nl_groups = entry.dst_group() ? 1u << (entry.dst_group() - 1) : 0;
    if (connect(fd, reinterpret_cast<const sockaddr *>(&address), sizeof address) < 0)
        return base::fail_sys("connect a netlink socket");
    return {};
}

struct Queues {
    bool loaded = false;
    std::unordered_map<uint32_t, std::vector<image::Entry<img::sk_packet_entry>>> by_file;
    std::map<std::pair<uint32_t, uint32_t>, uint32_t> senders; ///< protocol and port id -> file id
};

Result<Queues *> load_queues(FileOpenContext &context) {
    Queues &queues = context.states.of<Queues>();
    if (std::exchange(queues.loaded, true))
        return &queues;
    for (auto &packet : TRY(context.images.read_with_payload<img::sk_packet_entry>(image::ImageKind::SkQueues)))
        if (packet.message.ext().has_portid())
            queues.by_file[packet.message.id_for()].push_back(std::move(packet));
    for (auto &[id, file] : context.files)
        if (file.has_nlsk() && file.nlsk().portid())
            queues.senders[{file.nlsk().protocol(), file.nlsk().portid()}] = id;
    return &queues;
}

/// The socket that has the sender's port id, or one that has it for a moment.
Result<int> sender_of(const FileOpenContext &context, const Queues &queues, uint32_t protocol, uint32_t portid,
                      base::UniqueFd &stand_in) {
    auto living = queues.senders.find({protocol, portid});
    if (living != queues.senders.end() && context.opened.contains(living->second))
        return context.opened.at(living->second);
    stand_in.reset(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, static_cast<int>(protocol)));
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_pid = portid;
    if (!stand_in || bind(stand_in.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address) < 0)
        return base::fail_sys(fmt::format("take on netlink port {}, which has sent a message", portid));
    return stand_in.get();
}

Result<void> fill(FileOpenContext &context, const img::netlink_sk_entry &entry) {
    Queues &queues = *TRY(load_queues(context));
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_pid = entry.portid();
    for (const auto &packet : queues.by_file[entry.id()]) {
        base::UniqueFd stand_in;
        const int sender = TRY(sender_of(context, queues, entry.protocol(), packet.message.ext().portid(), stand_in));
        if (sendto(sender, packet.payload.data(), packet.payload.size(), MSG_DONTWAIT,
                   reinterpret_cast<const sockaddr *>(&address), sizeof address) < 0)
            return base::fail_sys("send what waited in a netlink socket");
    }
    return {};
}

/// Something from another program that every reader skips: it must not be empty for the socket to be full.
Result<void> send_filler(const sockaddr_nl &to, uint32_t protocol) {
    struct {
        nlmsghdr header;
        char nothing[2048];
    } filler{};
    filler.header.nlmsg_len = sizeof filler;
    filler.header.nlmsg_type = NLMSG_NOOP;
    const base::UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, static_cast<int>(protocol)));
    if (!fd ||
        sendto(fd.get(), &filler, sizeof filler, MSG_DONTWAIT, reinterpret_cast<const sockaddr *>(&to), sizeof to) < 0)
        return base::fail_sys("fill a netlink socket");
    return {};
}

/// Lets the socket lose a message, for which its reader gets ENOBUFS: it asks the kernel for an acknowledgement that
/// it has no room for.
Result<void> overrun(base::Log &log, int fd, const img::netlink_sk_entry &entry) {
    sockaddr_nl own{}, to_kernel{.nl_family = AF_NETLINK, .nl_pad = 0, .nl_pid = 0, .nl_groups = 0};
    socklen_t size = sizeof own;
    if (getsockname(fd, reinterpret_cast<sockaddr *>(&own), &size) < 0)
        return base::fail_sys("getsockname");
    own.nl_groups = 0;
    nlmsghdr request{};
    request.nlmsg_len = sizeof request;
    request.nlmsg_type = NLMSG_NOOP;
    request.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    TRY(set_int_option(fd, SOL_SOCKET, SO_RCVBUF, 0, "SO_RCVBUF"));
    if (own.nl_pid) { // one without a port would get one by sending
        TRY(send_filler(own, entry.protocol()));
        (void)sendto(fd, &request, sizeof request, MSG_DONTWAIT, reinterpret_cast<const sockaddr *>(&to_kernel),
                     sizeof to_kernel);
    }
    pollfd ready{fd, 0, 0};
    if (poll(&ready, 1, 0) != 1 || !(ready.revents & POLLERR))
        log.warn(fmt::format("the netlink socket of port {} cannot be told that messages were lost", own.nl_pid));
    return {};
}

Result<base::UniqueFd> open_socket(FileOpenContext &, const img::file_entry &entry) {
    const img::netlink_sk_entry &nlsk = entry.nlsk();
    const int type = nlsk.ext().type() == SOCK_DGRAM ? SOCK_DGRAM : SOCK_RAW;
    base::UniqueFd fd(socket(AF_NETLINK, type | SOCK_CLOEXEC, static_cast<int>(nlsk.protocol())));
    if (!fd)
        return base::fail_sys(fmt::format("create a netlink socket of protocol {}", nlsk.protocol()));
    TRY(bind_to(fd.get(), nlsk));
    return fd;
}

Result<void> complete(FileOpenContext &context, int fd, const img::file_entry &entry) {
    const img::netlink_sk_entry &nlsk = entry.nlsk();
    TRY(make_room(context.outside, fd, nlsk.opts()));
    TRY(fill(context, nlsk));
    if (nlsk.ext().lost())
        TRY(overrun(context.log, fd, nlsk));
    TRY(connect_to(fd, nlsk));
    TRY(restore_socket_options(context.outside, fd, nlsk.opts()));
    TRY(restore_option_list(fd, kOptions, nlsk.ext().options()));
    if (fcntl(fd, F_SETFL, static_cast<int>(nlsk.flags() & O_NONBLOCK)) < 0)
        return base::fail_sys("fcntl(F_SETFL)");
    return {};
}

Result<void> settle(FileSettleContext &, int fd, const img::file_entry &entry) {
    return restore_owner(fd, entry.nlsk().fown(), entry.nlsk().flags());
}

} // namespace

extern const FileKind kKind{
    .name = "netlink socket",
    .type = img::NETLINKSK,
    .about =
        {.saved = "protocol, port id, groups, peer, options; messages of NETLINK_USERSOCK with their senders; that "
                  "messages were lost (ENOBUFS)",
         .restored = "unread notifications of the kernel as lost ones: the next read fails with ENOBUFS, the one after "
                     "it gets an empty message (NLMSG_NOOP)",
         .limits =
             "unread answers of the kernel (in a socket without groups; `--allow-loss netlink-answers` loses them) and "
             "sockets that read from the packet filter (nfnetlink_queue, nfnetlink_log) are refused; messages are read "
             "by a dump that ends the "
             "tree only"},
    .matches = matches,
    .dump = dump,
    .destructive_step = drain_all,
    .place = [](const img::file_entry &file) { return Place{.net = file.nlsk().ns_id()}; },
    .open = open_socket,
    .complete = complete,
    .settle = settle,
    .examine = examine};

} // namespace resource::netlink_socket
