#include "criu/kernel/packet_diag.hh"

#include "criu/kernel/netlink.hh"

#include <algorithm>
#include <linux/packet_diag.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>

namespace kernel {
namespace {

PacketRing ring_of(std::string_view value) {
    const auto ring = value_of<packet_diag_ring>(value);
    return {.block_size = ring.pdr_block_size,
            .block_count = ring.pdr_block_nr,
            .frame_size = ring.pdr_frame_size,
            .frame_count = ring.pdr_frame_nr,
            .retire_timeout = ring.pdr_retire_tmo,
            .private_size = ring.pdr_sizeof_priv,
            .features = ring.pdr_features};
}

std::vector<PacketMembership> memberships_of(std::string_view value) {
    std::vector<PacketMembership> found;
    for (; value.size() >= sizeof(packet_diag_mclist); value.remove_prefix(sizeof(packet_diag_mclist))) {
        const auto one = value_of<packet_diag_mclist>(value);
        const size_t length = std::min<size_t>(one.pdmc_alen, sizeof one.pdmc_addr);
        found.push_back({.interface = static_cast<uint32_t>(one.pdmc_index),
                         .count = one.pdmc_count,
                         .type = one.pdmc_type,
                         .address = std::string(reinterpret_cast<const char *>(one.pdmc_addr), length)});
    }
    return found;
}

void read_attribute(PacketSocketFacts &facts, int type, std::string_view value) {
    switch (type) {
    case PACKET_DIAG_INFO:
        facts.interface = static_cast<uint32_t>(value_of<packet_diag_info>(value).pdi_index);
        break;
    case PACKET_DIAG_MCLIST:
        facts.memberships = memberships_of(value);
        break;
    case PACKET_DIAG_RX_RING:
        facts.receive_ring = ring_of(value);
        break;
    case PACKET_DIAG_TX_RING:
        facts.send_ring = ring_of(value);
        break;
    case PACKET_DIAG_FANOUT:
        facts.fanout = value_of<uint32_t>(value);
        break;
    default:
        break;
    }
}

} // namespace

Result<std::vector<PacketSocketFacts>> list_packet_sockets() {
    struct {
        nlmsghdr header{};
        packet_diag_req body{};
    } request;
    request.body.sdiag_family = AF_PACKET;
    request.body.pdiag_show = PACKET_SHOW_INFO | PACKET_SHOW_MCLIST | PACKET_SHOW_RING_CFG | PACKET_SHOW_FANOUT;
    std::vector<PacketSocketFacts> found;
    auto visit = [&](std::string_view body) -> Result<void> {
        if (body.size() < sizeof(packet_diag_msg))
            return base::fail_sys(EBADMSG, "list of packet sockets");
        const auto head = value_of<packet_diag_msg>(body);
        PacketSocketFacts facts{.inode = head.pdiag_ino, .protocol = head.pdiag_num};
        TRY(for_each_attribute(body.substr(sizeof head),
                               [&](int type, std::string_view value) { read_attribute(facts, type, value); }));
        found.push_back(std::move(facts));
        return {};
    };
    TRY_CTX(netlink_dump(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, &request, sizeof request, visit),
            "list all packet sockets");
    return found;
}

} // namespace kernel
