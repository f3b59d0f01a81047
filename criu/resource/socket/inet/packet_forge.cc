#include "criu/resource/socket/inet/packet_forge.hh"

#include "base/unique_fd.hh"
#include "criu/kernel/network_lock.hh"

#include <arpa/inet.h>
#include <cstring>
#include <fmt/format.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>

namespace resource {
namespace {

void append(std::vector<uint8_t> &bytes, const void *data, size_t length) {
    const auto *from = static_cast<const uint8_t *>(data);
    bytes.insert(bytes.end(), from, from + length);
}

uint32_t sum_words(std::span<const uint8_t> bytes, uint32_t sum) {
    for (size_t i = 0; i < bytes.size(); i++)
        sum += i % 2 ? bytes[i] : bytes[i] << 8;
    return sum;
}

std::vector<uint8_t> ip_header(const ForgedPacket &packet) {
    std::vector<uint8_t> bytes;
    bytes.reserve(sizeof(ip6_hdr) + packet.payload.size());
    if (packet.to.family == AF_INET) {
        iphdr ip{};
        ip.version = 4;
        ip.ihl = sizeof ip / 4;
        ip.tos = packet.tos;
        ip.ttl = packet.ttl;
        ip.protocol = packet.protocol;
        ip.tot_len = htons(static_cast<uint16_t>(sizeof ip + packet.payload.size()));
        memcpy(&ip.saddr, packet.from.address.data(), 4);
        memcpy(&ip.daddr, packet.to.address.data(), 4);
        append(bytes, &ip, sizeof ip); // the kernel fills in the checksum
    } else {
        ip6_hdr ip{};
        ip.ip6_flow = htonl(6u << 28 | static_cast<uint32_t>(packet.tos) << 20);
        ip.ip6_plen = htons(static_cast<uint16_t>(packet.payload.size()));
        ip.ip6_nxt = packet.protocol;
        ip.ip6_hlim = packet.ttl;
        memcpy(&ip.ip6_src, packet.from.address.data(), 16);
        memcpy(&ip.ip6_dst, packet.to.address.data(), 16);
        append(bytes, &ip, sizeof ip);
    }
    return bytes;
}

} // namespace

uint16_t transport_checksum(const Endpoint &from, const Endpoint &to, uint8_t protocol,
                            std::span<const uint8_t> packet) {
    uint32_t sum = static_cast<uint32_t>(packet.size()) + protocol;
    sum = sum_words(std::span(from.address).first(from.bytes()), sum);
    sum = sum_words(std::span(to.address).first(to.bytes()), sum);
    sum = sum_words(packet, sum);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return htons(static_cast<uint16_t>(~sum));
}

Result<void> send_forged(const ForgedPacket &packet) {
    std::vector<uint8_t> bytes = ip_header(packet);
    append(bytes, packet.payload.data(), packet.payload.size());
    base::UniqueFd fd(socket(packet.to.family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
    const uint32_t mark = kernel::kPassMark;
    if (!fd || setsockopt(fd.get(), SOL_SOCKET, SO_MARK, &mark, sizeof mark) < 0)
        return base::fail_sys("open a raw socket");
    Endpoint target = packet.to;
    target.port = 0;
    const SocketAddress to = to_sockaddr(target);
    if (sendto(fd.get(), bytes.data(), bytes.size(), 0, to.get(), to.length) < 0)
        return base::fail_sys(fmt::format("send a packet to {}", to_text(packet.to)));
    return {};
}

} // namespace resource
