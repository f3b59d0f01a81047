#include "criu/kernel/packet_diag.hh"

#include "base/unique_fd.hh"

#include <algorithm>
#include <linux/netlink.h>
#include <linux/packet_diag.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>

namespace kernel {
namespace {

template <class T> T value_of(const rtattr *attribute) {
    T value{};
    memcpy(&value, RTA_DATA(attribute), std::min<size_t>(sizeof value, RTA_PAYLOAD(attribute)));
    return value;
}

PacketRing ring_of(const rtattr *attribute) {
    const auto ring = value_of<packet_diag_ring>(attribute);
    return {.block_size = ring.pdr_block_size,
            .block_count = ring.pdr_block_nr,
            .frame_size = ring.pdr_frame_size,
            .frame_count = ring.pdr_frame_nr,
            .retire_timeout = ring.pdr_retire_tmo,
            .private_size = ring.pdr_sizeof_priv,
            .features = ring.pdr_features};
}

std::vector<PacketMembership> memberships_of(const rtattr *attribute) {
    std::vector<PacketMembership> found;
    const auto *data = static_cast<const char *>(RTA_DATA(attribute));
    for (size_t at = 0; at + sizeof(packet_diag_mclist) <= RTA_PAYLOAD(attribute); at += sizeof(packet_diag_mclist)) {
        packet_diag_mclist one{};
        memcpy(&one, data + at, sizeof one);
        const size_t length = std::min<size_t>(one.pdmc_alen, sizeof one.pdmc_addr);
        found.push_back({.interface = static_cast<uint32_t>(one.pdmc_index),
                         .count = one.pdmc_count,
                         .type = one.pdmc_type,
                         .address = std::string(reinterpret_cast<const char *>(one.pdmc_addr), length)});
    }
    return found;
}

PacketSocketFacts facts_of(const nlmsghdr *header) {
    const auto *message = static_cast<const packet_diag_msg *>(NLMSG_DATA(header));
    PacketSocketFacts facts{.inode = message->pdiag_ino, .protocol = message->pdiag_num};
    int left = static_cast<int>(header->nlmsg_len - NLMSG_LENGTH(sizeof *message));
    for (auto *attribute = reinterpret_cast<const rtattr *>(message + 1); RTA_OK(attribute, left);
         attribute = RTA_NEXT(attribute, left)) {
        if (attribute->rta_type == PACKET_DIAG_INFO)
            facts.interface = value_of<packet_diag_info>(attribute).pdi_index;
        if (attribute->rta_type == PACKET_DIAG_MCLIST)
            facts.memberships = memberships_of(attribute);
        if (attribute->rta_type == PACKET_DIAG_RX_RING)
            facts.receive_ring = ring_of(attribute);
        if (attribute->rta_type == PACKET_DIAG_TX_RING)
            facts.send_ring = ring_of(attribute);
        if (attribute->rta_type == PACKET_DIAG_FANOUT)
            facts.fanout = value_of<uint32_t>(attribute);
    }
    return facts;
}

/// Returns whether more is to come.
Result<bool> take(const char *buffer, size_t bytes, std::vector<PacketSocketFacts> &found) {
    auto left = static_cast<uint32_t>(bytes);
    for (auto *header = reinterpret_cast<const nlmsghdr *>(buffer); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
        if (header->nlmsg_type == NLMSG_DONE)
            return false;
        if (header->nlmsg_type == NLMSG_ERROR)
            return base::fail_sys(-static_cast<const nlmsgerr *>(NLMSG_DATA(header))->error,
                                  "list packet sockets (SOCK_DIAG)");
        if (header->nlmsg_len >= NLMSG_LENGTH(sizeof(packet_diag_msg)))
            found.push_back(facts_of(header));
    }
    return true;
}

} // namespace

Result<std::vector<PacketSocketFacts>> list_packet_sockets() {
    base::UniqueFd fd(socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
    if (!fd)
        return base::fail_sys("open a socket for SOCK_DIAG");
    struct {
        nlmsghdr header{};
        packet_diag_req request{};
    } message;
    message.header = {sizeof message, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 1, 0};
    message.request.sdiag_family = AF_PACKET;
    message.request.pdiag_show = PACKET_SHOW_INFO | PACKET_SHOW_MCLIST | PACKET_SHOW_RING_CFG | PACKET_SHOW_FANOUT;
    if (send(fd.get(), &message, sizeof message, 0) < 0)
        return base::fail_sys("ask SOCK_DIAG");
    std::vector<PacketSocketFacts> found;
    alignas(nlmsghdr) char buffer[65536];
    for (bool more = true; more;) {
        const ssize_t n = recv(fd.get(), buffer, sizeof buffer, 0);
        if (n <= 0)
            return base::fail_sys("hear from SOCK_DIAG");
        more = TRY(take(buffer, static_cast<size_t>(n), found));
    }
    return found;
}

} // namespace kernel
