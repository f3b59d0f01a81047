// No call shows what is corked, and letting it go to catch it on its way would lose it whenever we die in between. So
// it is read where it lies, in the kernel's memory (criu/kernel/memory/kernel_memory.hh): the packets of the socket's
// write queue, of which the first has room for the UDP header. Where they go to was decided by the first write
// (inet_sock::cork), and may differ from what the socket is connected to.
//
// A restore writes the same data in one call: the kernel sends it as one datagram either way.
#include "criu/resource/socket/udp/udp_cork.hh"

#include "criu/kernel/memory/kernel_pages.hh"
#include "criu/resource/file/hidden_state.hh"
#include "criu/resource/socket/inet/inet_address.hh"
#include "criu/resource/socket/inet/inet_socket.hh"
#include "criu/resource/socket/option_list.hh"

#include <arpa/inet.h>
#include <cstring>
#include <fmt/format.h>
#include <linux/sockios.h>
#include <netinet/udp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace resource {
namespace {

using Address = uint64_t; ///< of the kernel

constexpr size_t kMostCorked = 65535, kMostPackets = 256;
constexpr int kUdpSegment = 103;
constexpr int kPatience = 20; // milliseconds

struct CorkReader {
    const KernelMemory &memory;
    KernelPages pages;
};
/// Found for the first socket that needs it.
using LazyPages = std::optional<KernelPages>;

/// What the device has not sent yet counts as well, but goes in a moment.
bool may_be_corked(int fd, int patience) {
    int bytes = 0;
    for (int tries = 0; tries < patience; tries++) {
        if (ioctl(fd, SIOCOUTQ, &bytes) < 0 || bytes == 0)
            return false;
        usleep(1000);
    }
    return true;
}

base::Error &explain(base::Error &error) {
    return error.ctx("UDP data that is held back (UDP_CORK or MSG_MORE) cannot be read")
        .hint("try again when the program has sent it");
}

std::unexpected<base::Error> changing() {
    return base::fail(
        base::Error(base::ErrorKind::Unsupported, "it changes meanwhile").hint("somebody outside of the tree uses it"));
}

// ---- the packets ---------------------------------------------------------------------------------------------------

Result<void> append(const KernelMemory &memory, Address from, uint64_t length, std::string &data) {
    const size_t before = data.size();
    if (length > kMostCorked || before + length > kMostCorked)
        return changing();
    data.resize(before + length);
    return memory.read(from, std::as_writable_bytes(std::span(data).subspan(before)));
}

/// A piece of a packet in a page of its own. Its fields have had other names before Linux 6.10 (page) and 6.9
/// (bio_vec).
Result<void> append_fragment(const CorkReader &reader, Address fragment, std::string &data) {
    const bool old = !reader.memory.size_of("skb_frag").has_value();
    const char *type = old ? "bio_vec" : "skb_frag";
    auto page = reader.memory.member(fragment, type, old ? "bv_page" : "netmem");
    const uint64_t length = TRY(reader.memory.member(fragment, type, old ? "bv_len" : "len")),
                   offset = TRY(reader.memory.member(fragment, type, old ? "bv_offset" : "offset"));
    if (!page || *page % 2) // an odd one is memory of a device
        return base::unsupported("it lies in memory of another kind");
    return append(reader.memory, reader.pages.address(*page) + offset, length, data);
}

Result<void> append_fragments(const CorkReader &reader, Address shared, std::string &data) {
    const uint64_t count = TRY(reader.memory.member(shared, "skb_shared_info", "nr_frags"));
    const auto fragment_size = reader.memory.size_of("skb_frag");
    const uint64_t size = fragment_size ? *fragment_size : TRY(reader.memory.size_of("bio_vec"));
    const Address first = TRY(reader.memory.address_of(shared, "skb_shared_info", "frags"));
    if (TRY(reader.memory.member(shared, "skb_shared_info", "frag_list")))
        return base::unsupported("it is a list of lists");
    for (uint64_t i = 0; i < count; i++)
        TRY(append_fragment(reader, first + i * size, data));
    return {};
}

Result<void> append_packet(const CorkReader &reader, Address packet, std::string &data) {
    auto field = [&](const char *name) { return reader.memory.member(packet, "sk_buff", name); };
    const Address head = TRY(field("head"));
    uint64_t start = TRY(field("transport_header"));
    const uint64_t tail = TRY(field("tail"));
    if (data.empty())
        start += sizeof(udphdr);
    if (start > tail)
        return changing();
    TRY(append(reader.memory, head + start, tail - start, data));
    return append_fragments(reader, head + TRY(field("end")), data);
}

Result<std::string> read_packets(const CorkReader &reader, Address socket) {
    const Address queue = TRY(reader.memory.address_of(socket, "sock", "sk_write_queue"));
    std::string data;
    Address packet = TRY(reader.memory.member(queue, "sk_buff_head", "next"));
    for (size_t seen = 0; packet != queue; seen++) {
        if (seen == kMostPackets)
            return changing();
        TRY(append_packet(reader, packet, data));
        packet = TRY(reader.memory.member(packet, "sk_buff", "next"));
    }
    // The kernel counts the header too.
    if (TRY(reader.memory.member(socket, "udp_sock", "len")) != data.size() + sizeof(udphdr))
        return changing();
    return data;
}

// ---- where it goes to, and how -------------------------------------------------------------------------------------

Result<Endpoint> endpoint(const KernelMemory &memory, Address socket, int family, const std::string &which) {
    const std::string flow = family == AF_INET ? "cork.fl.u.ip4." : "cork.fl.u.ip6.";
    Endpoint endpoint{.family = family};
    const Address at = TRY(memory.address_of(socket, "inet_sock", flow + which + "addr"));
    TRY(memory.read(at, std::as_writable_bytes(std::span(endpoint.address).first(endpoint.bytes()))));
    endpoint.port =
        ntohs(static_cast<uint16_t>(TRY(memory.member(socket, "inet_sock", flow + "uli.ports." + which + "port"))));
    return endpoint;
}

Result<Endpoint> destination(const KernelMemory &memory, Address socket, int family) {
    Endpoint to = TRY(endpoint(memory, socket, family, "d"));
    if (family == AF_INET)
        return to;
    to.flowinfo = static_cast<uint32_t>(TRY(memory.member(socket, "inet_sock", "cork.fl.u.ip6.flowlabel")));
    const bool link_local = to.address[0] == 0xfe && (to.address[1] & 0xc0) == 0x80;
    const bool multicast = to.address[0] == 0xff;
    if (link_local || multicast)
        to.scope =
            static_cast<uint32_t>(TRY(memory.member(socket, "inet_sock", "cork.fl.u.ip6.__fl_common.flowic_oif")));
    return to;
}

/// Of IPv4 a negative number, or zero for the ttl, says that the socket's own is taken when it is sent.
Result<void> dump_fields_v4(const KernelMemory &memory, const OpenFile &file, Address socket, img::ext_inet_sk *ext) {
    auto field = [&](const char *name) { return memory.member(socket, "inet_sock", name); };
    if (TRY(field("cork.base.opt")))
        return base::unsupported("it has IP options");
    if (const auto ttl = static_cast<uint8_t>(TRY(field("cork.base.ttl"))))
        ext->set_corked_ttl(ttl);
    const auto tos = static_cast<int16_t>(TRY(field("cork.base.tos")));
    if (tos >= 0 && tos != int_option(file.fd, SOL_IP, IP_TOS))
        ext->set_corked_tos(static_cast<uint32_t>(tos));
    return {};
}

Result<void> dump_fields_v6(const KernelMemory &memory, const OpenFile &file, Address socket, img::ext_inet_sk *ext) {
    const Address part = TRY(memory.member(socket, "inet_sock", "pinet6"));
    auto field = [&](const char *name) { return memory.member(part, "ipv6_pinfo", name); };
    if (TRY(field("cork.opt")))
        return base::unsupported("it has extension headers");
    ext->set_corked_ttl(static_cast<uint32_t>(TRY(field("cork.hop_limit"))));
    const auto traffic_class = static_cast<uint8_t>(TRY(field("cork.tclass")));
    if (traffic_class != int_option(file.fd, SOL_IPV6, IPV6_TCLASS))
        ext->set_corked_tos(traffic_class);
    return {};
}

Result<void> dump_way(const KernelMemory &memory, const OpenFile &file, Address socket, int family,
                      img::ext_inet_sk *ext) {
    ext->set_corked_to(to_bytes(TRY(destination(memory, socket, family))));
    const Endpoint from = TRY(endpoint(memory, socket, family, "s")), own = TRY(local_endpoint(file.fd));
    if (!from.any() && from.address != own.unmapped().address)
        ext->set_corked_from(to_bytes(from));
    TRY(family == AF_INET ? dump_fields_v4(memory, file, socket, ext) : dump_fields_v6(memory, file, socket, ext));
    const auto segment = static_cast<uint32_t>(TRY(memory.member(socket, "inet_sock", "cork.base.gso_size")));
    if (segment != static_cast<uint32_t>(int_option(file.fd, IPPROTO_UDP, kUdpSegment)))
        ext->set_corked_segment(segment);
    return {};
}

Result<void> read_corked(const CorkReader &reader, const OpenFile &file, img::inet_sk_entry *entry) {
    const KernelMemory &memory = reader.memory;
    const Address described = TRY(memory.file(file.fd)), outer = TRY(memory.member(described, "file", "private_data")),
                  socket = TRY(memory.member(outer, "socket", "sk"));
    // The family of what is held back; AF_INET on an IPv6 socket too, for mapped addresses.
    const auto pending = static_cast<int>(TRY(memory.member(socket, "udp_sock", "pending")));
    if (!pending)
        return {}; // a slow device
    if (pending != AF_INET && pending != AF_INET6)
        return changing();
    img::ext_inet_sk *ext = entry->mutable_ext();
    ext->set_corked(TRY(read_packets(reader, socket)));
    return dump_way(memory, file, socket, pending, ext);
}

// ---- restore -------------------------------------------------------------------------------------------------------

/// Control messages, one after the other.
struct Control {
    alignas(cmsghdr) char bytes[256] = {};
    size_t length = 0;

    template <class T> void add(int level, int type, const T &value) {
        auto *header = reinterpret_cast<cmsghdr *>(bytes + length);
        header->cmsg_level = level;
        header->cmsg_type = type;
        header->cmsg_len = CMSG_LEN(sizeof value);
        memcpy(CMSG_DATA(header), &value, sizeof value);
        length += CMSG_SPACE(sizeof value);
    }
};

Result<void> add_source(Control &control, const std::string &bytes) {
    const Endpoint from = TRY(from_bytes(bytes));
    if (from.family == AF_INET) {
        in_pktinfo info{};
        memcpy(&info.ipi_spec_dst, from.address.data(), sizeof info.ipi_spec_dst);
        control.add(SOL_IP, IP_PKTINFO, info);
    } else {
        in6_pktinfo info{};
        memcpy(&info.ipi6_addr, from.address.data(), sizeof info.ipi6_addr);
        control.add(SOL_IPV6, IPV6_PKTINFO, info);
    }
    return {};
}

Result<Control> control_messages(const img::ext_inet_sk &ext, int family) {
    Control control;
    const bool v4 = family == AF_INET;
    if (ext.has_corked_from())
        TRY(add_source(control, ext.corked_from()));
    if (ext.has_corked_ttl())
        control.add(v4 ? SOL_IP : SOL_IPV6, v4 ? IP_TTL : IPV6_HOPLIMIT, static_cast<int>(ext.corked_ttl()));
    if (ext.has_corked_tos())
        control.add(v4 ? SOL_IP : SOL_IPV6, v4 ? IP_TOS : IPV6_TCLASS, static_cast<int>(ext.corked_tos()));
    if (ext.has_corked_segment())
        control.add(SOL_UDP, kUdpSegment, static_cast<uint16_t>(ext.corked_segment()));
    return control;
}

/// An IPv6 socket sends to IPv4 by mapped addresses.
Endpoint as_family_of(uint32_t family, const Endpoint &endpoint) {
    if (family == AF_INET || endpoint.family == AF_INET6)
        return endpoint;
    Endpoint mapped{.family = AF_INET6, .port = endpoint.port};
    mapped.address[10] = mapped.address[11] = 0xff;
    std::copy_n(endpoint.address.begin(), 4, mapped.address.begin() + 12);
    return mapped;
}

} // namespace

Result<void> dump_corked(FileDumpContext &context, const OpenFile &file, img::inet_sk_entry *entry) {
    LazyPages &pages = context.states.of<LazyPages>();
    if (!may_be_corked(file.fd, pages ? 1 : kPatience))
        return {};
    auto done = [&] -> Result<void> {
        const KernelMemory &memory = *TRY(kernel_memory(context));
        if (!pages)
            pages = TRY(KernelPages::find(memory));
        return read_corked({memory, *pages}, file, entry);
    }();
    if (!done)
        return base::fail(std::move(explain(done.error())));
    return {};
}

Result<void> examine_corked(int fd) {
    if (!may_be_corked(fd, kPatience))
        return {};
    auto memory = KernelMemory::open();
    if (!memory)
        return base::fail(std::move(explain(memory.error())));
    return {};
}

Result<void> restore_corked(int fd, const img::inet_sk_entry &entry) {
    if (!entry.ext().has_corked())
        return {};
    const Endpoint to = TRY(from_bytes(entry.ext().corked_to()));
    Control control = TRY(control_messages(entry.ext(), to.family));
    SocketAddress address = to_sockaddr(as_family_of(entry.family(), to));
    std::string data = entry.ext().corked();
    iovec part{data.data(), data.size()};
    const msghdr message{.msg_name = &address.storage,
                         .msg_namelen = address.length,
                         .msg_iov = &part,
                         .msg_iovlen = 1,
                         .msg_control = control.length ? control.bytes : nullptr,
                         .msg_controllen = control.length,
                         .msg_flags = 0};
    if (sendmsg(fd, &message, MSG_MORE | MSG_DONTWAIT | MSG_NOSIGNAL) == static_cast<ssize_t>(data.size()))
        return {};
    return base::fail(
        std::move(base::Error::sys(fmt::format("write {} bytes to {}, to be held back", data.size(), to_text(to)))
                      .hint("its address has to exist here, and a route to the other one")));
}

} // namespace resource
