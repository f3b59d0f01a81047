// The queue is read with MSG_PEEK and SO_PEEK_OFF, which goes from one datagram to the next. The kernel shows an empty
// datagram to such a reader only once: a second dump of the same queue misses it.
//
// A restore forges the datagrams: a packet with the sender's address, from a raw socket to our own. For the moment of
// its arrival the socket is connected to the sender, so that among several sockets of one port it is the best match.
#include "criu/resource/socket/udp/udp.hh"

#include "criu/resource/socket/inet/packet_forge.hh"
#include "criu/resource/socket/peek_guard.hh"
#include "criu/resource/socket/socket_options.hh"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

namespace resource {
namespace {

constexpr size_t kMaxDatagram = 65536;

/// Bytes of kernel memory in the receive queue.
uint32_t received_memory(int fd) {
    uint32_t memory[SK_MEMINFO_VARS] = {};
    socklen_t length = sizeof memory;
    return getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &length) == 0 ? memory[SK_MEMINFO_RMEM_ALLOC] : 0;
}

// ---- dump ----------------------------------------------------------------------------------------------------------

Endpoint destination_of(const msghdr &message, const Endpoint &own) {
    Endpoint destination = own;
    for (auto *part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(const_cast<msghdr *>(&message), part)) {
        if (part->cmsg_level == SOL_IP && part->cmsg_type == IP_PKTINFO && own.family == AF_INET)
            memcpy(destination.address.data(), &reinterpret_cast<const in_pktinfo *>(CMSG_DATA(part))->ipi_addr, 4);
        if (part->cmsg_level == SOL_IPV6 && part->cmsg_type == IPV6_PKTINFO)
            memcpy(destination.address.data(), &reinterpret_cast<const in6_pktinfo *>(CMSG_DATA(part))->ipi6_addr, 16);
    }
    return destination;
}

void note_fields(const msghdr &message, img::ext_datagram *datagram) {
    for (auto *part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(const_cast<msghdr *>(&message), part)) {
        int value = 0;
        memcpy(&value, CMSG_DATA(part), std::min<size_t>(sizeof value, part->cmsg_len - CMSG_LEN(0)));
        const bool v4 = part->cmsg_level == SOL_IP, v6 = part->cmsg_level == SOL_IPV6;
        if ((v4 && part->cmsg_type == IP_TTL) || (v6 && part->cmsg_type == IPV6_HOPLIMIT))
            datagram->set_ttl(static_cast<uint32_t>(value) & 0xff);
        if ((v4 && part->cmsg_type == IP_TOS) || (v6 && part->cmsg_type == IPV6_TCLASS))
            datagram->set_tos(static_cast<uint32_t>(value) & 0xff);
    }
}

/// Returns whether there was another one.
Result<bool> peek_one(int fd, const Endpoint &own, img::inet_sk_entry *entry) {
    std::vector<char> data(kMaxDatagram);
    sockaddr_in6 sender{};
    alignas(cmsghdr) char control[1024];
    iovec part{data.data(), data.size()};
    msghdr message{.msg_name = &sender,
                   .msg_namelen = sizeof sender,
                   .msg_iov = &part,
                   .msg_iovlen = 1,
                   .msg_control = control,
                   .msg_controllen = sizeof control,
                   .msg_flags = 0};
    const ssize_t n = recvmsg(fd, &message, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n < 0)
        return base::fail_sys("look into the queue of a UDP socket");
    img::ext_datagram *datagram = entry->mutable_ext()->add_received();
    datagram->set_sender(to_bytes(from_sockaddr(sender)));
    if (const Endpoint to = destination_of(message, own); to != own)
        datagram->set_receiver(to_bytes(to));
    note_fields(message, datagram);
    datagram->set_data(data.data(), static_cast<size_t>(n));
    return true;
}

Result<void> peek_all(int fd, const Endpoint &own, img::inet_sk_entry *entry) {
    while (TRY(peek_one(fd, own, entry))) {
    }
    return {};
}

} // namespace

Result<void> dump_datagrams(FileDumpContext &context, const OpenFile &file, img::inet_sk_entry *entry) {
    pollfd poller{file.fd, POLLIN, 0};
    if (poll(&poller, 1, 0) != 1 || !(poller.revents & POLLIN) || !received_memory(file.fd))
        return {};
    if (poller.revents & POLLERR)
        return base::fail(base::Error(base::ErrorKind::Unsupported, "an error waits to be read on a UDP socket")
                              .hint("try again a moment later"));
    const Endpoint own = TRY(local_endpoint(file.fd));
    return context.states.of<PeekGuard>().walk(file.fd, [&] { return peek_all(file.fd, own, entry); });
}

// ---- restore -------------------------------------------------------------------------------------------------------

namespace {

std::vector<uint8_t> datagram_bytes(uint8_t protocol, const Endpoint &from, const Endpoint &to,
                                    const std::string &data) {
    std::vector<uint8_t> bytes(sizeof(udphdr));
    const auto *text = reinterpret_cast<const uint8_t *>(data.data());
    bytes.insert(bytes.end(), text, text + data.size());
    udphdr header{};
    header.source = htons(from.port);
    header.dest = htons(to.port);
    header.len = htons(static_cast<uint16_t>(bytes.size())); // UDP-Lite: how much the checksum covers, all of it
    memcpy(bytes.data(), &header, sizeof header);
    header.check = transport_checksum(from, to, protocol, bytes);
    if (header.check == 0)
        header.check = 0xffff;
    memcpy(bytes.data(), &header, sizeof header);
    return bytes;
}

Result<void> disconnect(int fd) {
    const sockaddr_in6 nobody{.sin6_family = AF_UNSPEC};
    if (connect(fd, reinterpret_cast<const sockaddr *>(&nobody), sizeof nobody) < 0)
        return base::fail_sys("disconnect a UDP socket");
    return {};
}

Endpoint loopback(int family) {
    Endpoint address{.family = family};
    if (family == AF_INET)
        address.address[0] = 127, address.address[3] = 1;
    else
        address.address[15] = 1;
    return address;
}

/// Where the socket hears the sender, after it was connected to it if that goes.
Result<Endpoint> receiver_of(int fd, const img::ext_datagram &datagram, const Endpoint &from) {
    Endpoint own = TRY(local_endpoint(fd));
    if (datagram.has_receiver()) {
        const Endpoint recorded = TRY(from_bytes(datagram.receiver()));
        // A group's address cannot be sent to like this.
        const bool group = recorded.family == AF_INET
                               ? (recorded.address[0] & 0xf0) == 0xe0 || recorded.address[0] == 0xff
                               : recorded.address[0] == 0xff;
        if (!group)
            own.address = recorded.address;
    }
    const uint16_t port = own.port;
    if (own.any() || own.unmapped().any())
        own = loopback(from.unmapped().family);
    own = own.unmapped();
    own.port = port;
    return own;
}

/// Waits until the queue has grown.
Result<void> wait_for_arrival(int fd, uint32_t before) {
    for (int tries = 0; tries < 200; tries++) {
        if (received_memory(fd) > before)
            return {};
        usleep(1000);
    }
    return base::fail(base::Error(base::ErrorKind::System, "a queued datagram does not arrive when it is sent again")
                          .hint("a firewall of this network namespace may drop packets on the loopback device"));
}

Result<void> restore_one(int fd, const img::inet_sk_entry &entry, const img::ext_datagram &datagram) {
    const Endpoint from = TRY(from_bytes(datagram.sender()));
    if (datagram.data().size() > kMaxDatagram - sizeof(udphdr))
        return base::bad_image("a datagram that is too long");
    // The family of the sender is the socket's: mapped addresses are unmapped on the way.
    const SocketAddress sender = to_sockaddr(from);
    const bool borrowed =
        entry.state() != TCP_ESTABLISHED && from.port && connect(fd, sender.get(), sender.length) == 0;
    const Endpoint to = TRY(receiver_of(fd, datagram, from));
    const auto protocol = static_cast<uint8_t>(entry.proto());
    const auto bytes = datagram_bytes(protocol, from.unmapped(), to, datagram.data());
    const uint32_t before = received_memory(fd);
    TRY(send_forged({.from = from.unmapped(),
                     .to = to,
                     .protocol = protocol,
                     .ttl = static_cast<uint8_t>(datagram.has_ttl() ? datagram.ttl() : 64),
                     .tos = static_cast<uint8_t>(datagram.tos()),
                     .payload = bytes}));
    TRY(wait_for_arrival(fd, before));
    return borrowed ? disconnect(fd) : Result<void>{};
}

} // namespace

Result<void> restore_datagrams(const kernel::Outside &outside, int fd, const img::inet_sk_entry &entry) {
    if (entry.ext().received_size() == 0)
        return {};
    TRY(make_room(outside, fd, entry.opts()));
    // The packets come by the loopback device.
    const std::string device = entry.opts().so_bound_dev();
    if (!device.empty() && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "", 1) < 0)
        return base::fail_sys("unbind a socket from its device");
    for (const img::ext_datagram &datagram : entry.ext().received())
        TRY(restore_one(fd, entry, datagram));
    return {}; // the device comes back with the options
}

} // namespace resource
