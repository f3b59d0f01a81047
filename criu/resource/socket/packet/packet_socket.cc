// Packet sockets: protocol and interface, options, memberships, fanout groups, and rings (packet_ring.cc; their
// mappings: mm/mapping.cc). Packets in a socket's queue that were not read are not kept: they are copies of what went
// over an interface.
#include "criu/kernel/packet_diag.hh"
#include "criu/resource/file/file.hh"
#include "criu/resource/socket/option_list.hh"
#include "criu/resource/socket/packet/packet_ring.hh"
#include "criu/resource/socket/socket_options.hh"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

namespace resource::packet_socket {
namespace {

constexpr uint32_t kNoFanout = 0xffffffff;
constexpr int kIgnoreOutgoing = 23, kVnetHeaderSize = 24;
constexpr unsigned kFanoutCbpf = 6, kFanoutEbpf = 7;
constexpr size_t kMaxAddress = sizeof(packet_mreq::mr_address);

// Before the rings.
constexpr SocketOption kOptions[] = {
    {SOL_PACKET, PACKET_TX_HAS_OFF, "PACKET_TX_HAS_OFF", 0},
    {SOL_PACKET, kVnetHeaderSize, "PACKET_VNET_HDR_SZ", 0},
    {SOL_PACKET, PACKET_QDISC_BYPASS, "PACKET_QDISC_BYPASS", 0},
    {SOL_PACKET, kIgnoreOutgoing, "PACKET_IGNORE_OUTGOING", 0},
};

bool matches(const OpenFile &file) {
    return file.family == AF_PACKET;
}

// ---- dump ----------------------------------------------------------------------------------------------------------

struct PacketFacts {
    bool asked = false;
    std::map<uint32_t, kernel::PacketSocketFacts> sockets; ///< by inode
};

Result<const kernel::PacketSocketFacts *> facts_of(FileDumpContext &context, const OpenFile &file) {
    PacketFacts &facts = context.states.of<PacketFacts>();
    if (!std::exchange(facts.asked, true))
        TRY(context.networks.in_each([&](uint32_t) -> Result<void> {
            for (auto &socket : TRY(kernel::list_packet_sockets()))
                facts.sockets.emplace(socket.inode, std::move(socket));
            return {};
        }));
    auto found = facts.sockets.find(static_cast<uint32_t>(file.stat.st_ino));
    if (found == facts.sockets.end())
        return base::unsupported("a packet socket of another network namespace");
    return &found->second;
}

uint32_t number(int fd, int name) {
    return static_cast<uint32_t>(int_option(fd, SOL_PACKET, name));
}

void write_ring(const kernel::PacketRing &ring, img::packet_ring *entry) {
    entry->set_block_size(ring.block_size);
    entry->set_block_nr(ring.block_count);
    entry->set_frame_size(ring.frame_size);
    entry->set_frame_nr(ring.frame_count);
    entry->set_retire_tmo(ring.retire_timeout);
    entry->set_sizeof_priv(ring.private_size);
    entry->set_features(ring.features);
}

Result<void> write_fanout(int fd, uint32_t fanout, img::packet_sock_entry *entry) {
    const unsigned type = fanout >> 16 & 0xff;
    if (type == kFanoutCbpf || type == kFanoutEbpf)
        return base::unsupported("a fanout group with a BPF program, which the kernel does not give back");
    entry->set_fanout(fanout);
    if (uint32_t flags = number(fd, PACKET_FANOUT) >> 24)
        entry->mutable_ext()->set_fanout_flags(flags);
    return {};
}

Result<void> dump_diag(int fd, const kernel::PacketSocketFacts &facts, img::packet_sock_entry *entry) {
    entry->set_protocol(htons(facts.protocol));
    entry->set_ifindex(facts.interface);
    char name[IFNAMSIZ] = {};
    if (facts.interface && if_indextoname(facts.interface, name))
        entry->mutable_ext()->set_ifname(name);
    for (const kernel::PacketMembership &membership : facts.memberships)
        for (uint32_t i = 0; i < membership.count; i++) {
            img::packet_mclist *one = entry->add_mclist();
            one->set_index(membership.interface);
            one->set_type(membership.type);
            one->set_addr(membership.address);
        }
    if (facts.receive_ring)
        write_ring(*facts.receive_ring, entry->mutable_rx_ring());
    if (facts.send_ring)
        write_ring(*facts.send_ring, entry->mutable_tx_ring());
    if (facts.fanout)
        TRY(write_fanout(fd, *facts.fanout, entry));
    return {};
}

Result<void> dump(FileDumpContext &context, const OpenFile &file, img::file_entry &entry) {
    img::packet_sock_entry *socket = entry.mutable_psk();
    int type = 0;
    if (get_int_option(file.fd, SOL_SOCKET, SO_TYPE, &type) < 0)
        return base::fail_sys("ask a packet socket for its type");
    socket->set_id(file.id.value);
    socket->set_type(static_cast<uint32_t>(type));
    socket->set_flags(file.flags & ~static_cast<uint32_t>(O_CLOEXEC));
    socket->set_ns_id(file.net);
    TRY(dump_diag(file.fd, *TRY(facts_of(context, file)), socket));
    TRY(dump_owner(context, file, socket->mutable_fown()));
    TRY(dump_socket_options(file.fd, socket->mutable_opts()));
    socket->set_version(number(file.fd, PACKET_VERSION));
    socket->set_reserve(number(file.fd, PACKET_RESERVE));
    socket->set_aux_data(number(file.fd, PACKET_AUXDATA));
    socket->set_orig_dev(number(file.fd, PACKET_ORIGDEV));
    socket->set_vnet_hdr(number(file.fd, PACKET_VNET_HDR));
    socket->set_loss(number(file.fd, PACKET_LOSS));
    socket->set_timestamp(number(file.fd, PACKET_TIMESTAMP));
    socket->set_copy_thresh(number(file.fd, PACKET_COPY_THRESH));
    TRY(dump_ring(file.fd, context.log, socket));
    OptionList list;
    TRY(dump_option_list(file.fd, kOptions, &list));
    if (!list.empty())
        *socket->mutable_ext()->mutable_options() = list;
    int waiting = 0;
    if (ioctl(file.fd, SIOCINQ, &waiting) == 0 && waiting)
        context.log.warn(fmt::format("{}: packets that were received but not read are not kept", file.link));
    return {};
}

// ---- restore -------------------------------------------------------------------------------------------------------

Result<void> set(int fd, int name, uint32_t value, const char *text) {
    return value ? set_int_option(fd, SOL_PACKET, name, static_cast<int>(value), text) : Result<void>{};
}

Result<void> restore_options(int fd, const img::packet_sock_entry &entry) {
    TRY(set(fd, PACKET_VERSION, entry.version(), "PACKET_VERSION"));
    TRY(set(fd, PACKET_RESERVE, entry.reserve(), "PACKET_RESERVE"));
    TRY(set(fd, PACKET_AUXDATA, entry.aux_data(), "PACKET_AUXDATA"));
    TRY(set(fd, PACKET_ORIGDEV, entry.orig_dev(), "PACKET_ORIGDEV"));
    TRY(set(fd, PACKET_VNET_HDR, entry.vnet_hdr(), "PACKET_VNET_HDR"));
    TRY(set(fd, PACKET_LOSS, entry.loss(), "PACKET_LOSS"));
    TRY(set(fd, PACKET_TIMESTAMP, entry.timestamp(), "PACKET_TIMESTAMP"));
    TRY(set(fd, PACKET_COPY_THRESH, entry.copy_thresh(), "PACKET_COPY_THRESH"));
    return restore_option_list(fd, kOptions, entry.ext().options());
}

Result<void> restore_ring(int fd, int name, const img::packet_sock_entry &entry, const img::packet_ring &ring) {
    tpacket_req3 request{.tp_block_size = ring.block_size(),
                         .tp_block_nr = ring.block_nr(),
                         .tp_frame_size = ring.frame_size(),
                         .tp_frame_nr = ring.frame_nr(),
                         .tp_retire_blk_tov = ring.retire_tmo(),
                         .tp_sizeof_priv = ring.sizeof_priv(),
                         .tp_feature_req_word = ring.features()};
    const size_t length = entry.version() == TPACKET_V3 ? sizeof request : sizeof(tpacket_req);
    if (setsockopt(fd, SOL_PACKET, name, &request, static_cast<socklen_t>(length)) < 0)
        return base::fail_sys("make the ring of a packet socket");
    return {};
}

Result<void> restore_memberships(int fd, const img::packet_sock_entry &entry) {
    for (const img::packet_mclist &one : entry.mclist()) {
        packet_mreq request{.mr_ifindex = static_cast<int>(one.index()),
                            .mr_type = static_cast<unsigned short>(one.type()),
                            .mr_alen = static_cast<unsigned short>(one.addr().size())};
        // Longer ones take a longer structure; no device has them.
        if (one.addr().size() > kMaxAddress)
            return base::bad_image("a packet socket's membership with an address that is too long");
        memcpy(request.mr_address, one.addr().data(), one.addr().size());
        if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &request, sizeof request) < 0)
            return base::fail_sys("restore a membership of a packet socket");
    }
    return {};
}

/// The oldest type (SOCK_PACKET) takes names, and its protocol from socket(2).
Result<void> bind_by_name(int fd, uint32_t interface) {
    sockaddr address{.sa_family = AF_PACKET, .sa_data = {}};
    char name[IF_NAMESIZE] = {};
    if (!interface)
        return {};
    if (!if_indextoname(interface, name))
        return base::fail_sys(fmt::format("find the interface {}", interface));
    memcpy(address.sa_data, name, std::min(strlen(name), sizeof address.sa_data - 1));
    if (bind(fd, &address, sizeof address) < 0)
        return base::fail_sys(fmt::format("bind a packet socket to {}", name));
    return {};
}

Result<void> bind_packet(int fd, const img::packet_sock_entry &entry) {
    uint32_t interface = entry.ifindex();
    if (interface && !entry.ext().ifname().empty())
        interface = if_nametoindex(entry.ext().ifname().c_str());
    if (entry.ifindex() && !interface)
        return base::fail_sys(fmt::format("find the interface {}", entry.ext().ifname()));
    if (entry.type() == SOCK_PACKET)
        return bind_by_name(fd, interface);
    if (!entry.protocol() && !interface)
        return {};
    const sockaddr_ll address{.sll_family = AF_PACKET,
                              .sll_protocol = static_cast<unsigned short>(entry.protocol()),
                              .sll_ifindex = static_cast<int>(interface)};
    if (bind(fd, reinterpret_cast<const sockaddr *>(&address), sizeof address) < 0)
        return base::fail_sys("bind a packet socket");
    return {};
}

Result<base::UniqueFd> open_file(FileOpenContext &context, const img::file_entry &file) {
    const img::packet_sock_entry &entry = file.psk();
    const bool oldest = entry.type() == SOCK_PACKET;
    if (entry.type() != SOCK_RAW && entry.type() != SOCK_DGRAM && !oldest)
        return base::bad_image(fmt::format("a packet socket of type {}", entry.type()));
    // Of no protocol at first: it hears nothing before it is bound.
    const uint32_t protocol = oldest ? entry.protocol() : 0;
    base::UniqueFd fd(socket(AF_PACKET, static_cast<int>(entry.type()) | SOCK_CLOEXEC, static_cast<int>(protocol)));
    if (!fd)
        return base::fail_sys("socket");
    TRY(restore_options(fd.get(), entry));
    if (entry.has_rx_ring())
        TRY(restore_ring(fd.get(), PACKET_RX_RING, entry, entry.rx_ring()));
    if (entry.has_tx_ring())
        TRY(restore_ring(fd.get(), PACKET_TX_RING, entry, entry.tx_ring()));
    TRY(restore_ring_place(fd.get(), context.log, entry));
    TRY(restore_socket_options(context.outside, fd.get(), entry.opts()));
    TRY(restore_memberships(fd.get(), entry));
    TRY(bind_packet(fd.get(), entry));
    if (entry.has_fanout() && entry.fanout() != kNoFanout)
        TRY(set_int_option(fd.get(), SOL_PACKET, PACKET_FANOUT,
                           static_cast<int>(entry.fanout() | entry.ext().fanout_flags() << 24), "PACKET_FANOUT"));
    if ((entry.flags() & O_NONBLOCK) && fcntl(fd.get(), F_SETFL, O_NONBLOCK) < 0)
        return base::fail_sys("fcntl(F_SETFL)");
    return fd;
}

Result<void> settle(FileSettleContext &, int fd, const img::file_entry &file) {
    return restore_owner(fd, file.psk().fown(), file.psk().flags());
}

} // namespace

extern const FileKind kKind{
    .name = "packet socket",
    .type = img::PACKETSK,
    .about = {.saved = "type, protocol, interface, options, memberships, fanout, rings with their mappings",
              .restored =
                  "rings are made anew at the same size; the kernel goes on where it was in one that receives, with "
                  "the packets that nobody has read",
              .limits =
                  "packets that were not read are lost where there is no ring, and in the block that the kernel is "
                  "writing (the dump warns); a ring that sends begins anew; fanout groups with a BPF program are "
                  "refused"},
    .matches = matches,
    .dump = dump,
    .place = [](const img::file_entry &file) { return Place{.net = file.psk().ns_id()}; },
    .open = open_file,
    .settle = settle};

} // namespace resource::packet_socket
