#include "criu/resource/file/tcp_packet.hh"

#include "base/unique_fd.hh"
#include "criu/kernel/network_lock.hh"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <vector>

namespace resource {
namespace {

void append(std::vector<uint8_t> &bytes, const void *data, size_t length) {
    const auto *from = static_cast<const uint8_t *>(data);
    bytes.insert(bytes.end(), from, from + length);
}

/// The internet checksum (RFC 1071).
uint16_t checksum(const std::vector<uint8_t> &bytes) {
    uint32_t sum = 0;
    for (size_t i = 0; i < bytes.size(); i++)
        sum += i % 2 ? bytes[i] : bytes[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return htons(static_cast<uint16_t>(~sum));
}

tcphdr tcp_header(const TcpSegment &segment) {
    tcphdr header{};
    header.source = htons(segment.from.port);
    header.dest = htons(segment.to.port);
    header.seq = htonl(segment.sequence);
    header.ack_seq = htonl(segment.acknowledged);
    header.window = htons(segment.window);
    header.doff = sizeof header / 4;
    header.ack = 1;
    header.fin = segment.fin;
    header.rst = segment.reset;
    std::vector<uint8_t> sum; // with the pseudo header
    append(sum, segment.from.address.data(), segment.from.bytes());
    append(sum, segment.to.address.data(), segment.to.bytes());
    const uint32_t tail[2] = {htonl(sizeof header), htonl(IPPROTO_TCP)}; // IPv4's adds up to the same
    append(sum, tail, sizeof tail);
    append(sum, &header, sizeof header);
    header.check = checksum(sum);
    return header;
}

std::vector<uint8_t> ip_header(const TcpSegment &segment) {
    std::vector<uint8_t> bytes;
    if (segment.from.family == AF_INET) {
        iphdr ip{};
        ip.version = 4;
        ip.ihl = sizeof ip / 4;
        ip.ttl = 64;
        ip.protocol = IPPROTO_TCP;
        ip.tot_len = htons(sizeof ip + sizeof(tcphdr));
        memcpy(&ip.saddr, segment.from.address.data(), 4);
        memcpy(&ip.daddr, segment.to.address.data(), 4);
        append(bytes, &ip, sizeof ip); // the kernel fills in the checksum
    } else {
        ip6_hdr ip{};
        ip.ip6_flow = htonl(6u << 28);
        ip.ip6_plen = htons(sizeof(tcphdr));
        ip.ip6_nxt = IPPROTO_TCP;
        ip.ip6_hlim = 64;
        memcpy(&ip.ip6_src, segment.from.address.data(), 16);
        memcpy(&ip.ip6_dst, segment.to.address.data(), 16);
        append(bytes, &ip, sizeof ip);
    }
    return bytes;
}

} // namespace

Result<void> inject_segment(const TcpSegment &segment) {
    TcpSegment plain = segment;
    plain.from = segment.from.unmapped();
    plain.to = segment.to.unmapped();
    std::vector<uint8_t> packet = ip_header(plain);
    const tcphdr header = tcp_header(plain);
    append(packet, &header, sizeof header);
    base::UniqueFd fd(socket(plain.to.family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
    const uint32_t mark = kernel::kPassMark;
    if (!fd || setsockopt(fd.get(), SOL_SOCKET, SO_MARK, &mark, sizeof mark) < 0)
        return base::fail_sys("open a raw socket");
    Endpoint target = plain.to;
    target.port = 0;
    const SocketAddress to = to_sockaddr(target);
    if (sendto(fd.get(), packet.data(), packet.size(), 0, to.get(), to.length) < 0)
        return base::fail_sys(fmt::format("send a segment to {}", to_text(plain.to)));
    return {};
}

} // namespace resource
