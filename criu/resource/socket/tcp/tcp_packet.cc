#include "criu/resource/socket/tcp/tcp_packet.hh"

#include "criu/resource/socket/inet/packet_forge.hh"

#include <arpa/inet.h>
#include <netinet/tcp.h>

namespace resource {

Result<void> inject_segment(const TcpSegment &segment) {
    const Endpoint from = segment.from.unmapped(), to = segment.to.unmapped();
    tcphdr header{};
    header.source = htons(from.port);
    header.dest = htons(to.port);
    header.seq = htonl(segment.sequence);
    header.ack_seq = htonl(segment.acknowledged);
    header.window = htons(segment.window);
    header.doff = sizeof header / 4;
    header.ack = 1;
    header.fin = segment.fin;
    header.rst = segment.reset;
    const std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t *>(&header), sizeof header);
    header.check = transport_checksum(from, to, IPPROTO_TCP, bytes);
    return send_forged({.from = from, .to = to, .protocol = IPPROTO_TCP, .payload = bytes});
}

} // namespace resource
