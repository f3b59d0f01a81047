// Options below the socket level. CRIU has fields for a dozen; the tables hold the others with what a fresh socket
// says, so that only what a program has set is written and restored.
#include "criu/resource/socket/inet/inet_options.hh"

#include <algorithm>
#include <fmt/format.h>
#include <linux/icmp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <vector>

namespace resource {
namespace {

constexpr int kIpRecvErrRfc4884 = 26, kIpLocalPortRange = 51;
constexpr int kIp6RecvErrRfc4884 = 31, kIp6RouterAlert = 22, kIp6RouterAlertIsolate = 30, kIp6RecvErr = 25,
              kIp6MulticastAll = 29, kIp6Flowinfo = 11, kIp6FlowinfoSend = 33, kIp6Checksum = 7, kIp6Hdrincl = 36;
constexpr int kTcpRtoMax = 44, kTcpRtoMin = 45, kTcpDelayedAck = 46;
constexpr int kIpRecvFragSize = 25, kIp6RecvFragSize = 77, kTcpTxDelay = 37;
constexpr int kUdpSegment = 103, kUdpGro = 104, kUdpNoCheck6Tx = 101, kUdpNoCheck6Rx = 102;
constexpr int kUdpLiteSend = 10, kUdpLiteReceive = 11;
constexpr int kLevelUdpLite = 136, kLevelRaw = 255, kLevelIcmp6 = 58, kIcmpFilter = 1;

constexpr bool kLenient = true, kEarly = true;

// The initial value of IP_MULTICAST_ALL differs between the families, that of others depends on settings of the
// system: what a host has set for all is then set for the socket.
constexpr SocketOption kIp[] = {
    {SOL_IP, IP_TRANSPARENT, "IP_TRANSPARENT", 0, 4, false, kEarly},
    {SOL_IP, IP_BIND_ADDRESS_NO_PORT, "IP_BIND_ADDRESS_NO_PORT", 0, 4, kLenient, kEarly},
    {SOL_IP, kIpLocalPortRange, "IP_LOCAL_PORT_RANGE", 0, 4, kLenient, kEarly},
    {SOL_IP, IP_OPTIONS, "IP_OPTIONS", 0, 40},
    {SOL_IP, IP_ROUTER_ALERT, "IP_ROUTER_ALERT", 0},
    {SOL_IP, IP_RECVOPTS, "IP_RECVOPTS", 0},
    {SOL_IP, IP_RETOPTS, "IP_RETOPTS", 0},
    {SOL_IP, IP_MTU_DISCOVER, "IP_MTU_DISCOVER", 1},
    {SOL_IP, IP_RECVERR, "IP_RECVERR", 0},
    {SOL_IP, IP_RECVTTL, "IP_RECVTTL", 0},
    {SOL_IP, IP_RECVTOS, "IP_RECVTOS", 0},
    {SOL_IP, IP_PASSSEC, "IP_PASSSEC", 0},
    {SOL_IP, IP_RECVORIGDSTADDR, "IP_RECVORIGDSTADDR", 0},
    {SOL_IP, IP_MINTTL, "IP_MINTTL", 0},
    {SOL_IP, kIpRecvFragSize, "IP_RECVFRAGSIZE", 0},
    {SOL_IP, kIpRecvErrRfc4884, "IP_RECVERR_RFC4884", 0},
    {SOL_IP, IP_UNICAST_IF, "IP_UNICAST_IF", 0, 4, false, kEarly},
};
// Not of streams: an accepted one has what its first packet said there.
constexpr SocketOption kIpMulticast[] = {
    {SOL_IP, IP_MULTICAST_IF, "IP_MULTICAST_IF", 0},
    {SOL_IP, IP_MULTICAST_TTL, "IP_MULTICAST_TTL", 1},
    {SOL_IP, IP_MULTICAST_LOOP, "IP_MULTICAST_LOOP", 1},
};
constexpr SocketOption kIpMulticastAll[] = {{SOL_IP, IP_MULTICAST_ALL, "IP_MULTICAST_ALL", 1}};
constexpr SocketOption kIp6Multicast[] = {
    {SOL_IPV6, IPV6_MULTICAST_IF, "IPV6_MULTICAST_IF", 0},
    {SOL_IPV6, IPV6_MULTICAST_HOPS, "IPV6_MULTICAST_HOPS", 1},
    {SOL_IPV6, IPV6_MULTICAST_LOOP, "IPV6_MULTICAST_LOOP", 1},
    {SOL_IPV6, kIp6MulticastAll, "IPV6_MULTICAST_ALL", 1},
};
constexpr SocketOption kIp6[] = {
    {SOL_IPV6, IPV6_TRANSPARENT, "IPV6_TRANSPARENT", 0, 4, false, kEarly},
    {SOL_IPV6, IPV6_FREEBIND, "IPV6_FREEBIND", 0, 4, false, kEarly},
    {SOL_IPV6, IPV6_2292PKTINFO, "IPV6_2292PKTINFO", 0},
    {SOL_IPV6, IPV6_2292HOPOPTS, "IPV6_2292HOPOPTS", 0},
    {SOL_IPV6, IPV6_2292DSTOPTS, "IPV6_2292DSTOPTS", 0},
    {SOL_IPV6, IPV6_2292RTHDR, "IPV6_2292RTHDR", 0},
    {SOL_IPV6, IPV6_2292HOPLIMIT, "IPV6_2292HOPLIMIT", 0},
    {SOL_IPV6, kIp6Flowinfo, "IPV6_FLOWINFO", 0},
    {SOL_IPV6, IPV6_UNICAST_HOPS, "IPV6_UNICAST_HOPS", 64},
    {SOL_IPV6, IPV6_MTU_DISCOVER, "IPV6_MTU_DISCOVER", 1},
    {SOL_IPV6, kIp6RecvErr, "IPV6_RECVERR", 0},
    {SOL_IPV6, kIp6RecvErrRfc4884, "IPV6_RECVERR_RFC4884", 0},
    {SOL_IPV6, kIp6RouterAlert, "IPV6_ROUTER_ALERT", 0, 4, kLenient},
    {SOL_IPV6, kIp6RouterAlertIsolate, "IPV6_ROUTER_ALERT_ISOLATE", 0, 4, kLenient},
    {SOL_IPV6, kIp6FlowinfoSend, "IPV6_FLOWINFO_SEND", 0},
    {SOL_IPV6, IPV6_RECVPKTINFO, "IPV6_RECVPKTINFO", 0},
    {SOL_IP, IP_PKTINFO, "IP_PKTINFO", 0},
    {SOL_IPV6, IPV6_RECVHOPLIMIT, "IPV6_RECVHOPLIMIT", 0},
    {SOL_IPV6, IPV6_RECVHOPOPTS, "IPV6_RECVHOPOPTS", 0},
    {SOL_IPV6, IPV6_HOPOPTS, "IPV6_HOPOPTS", 0, 512},
    {SOL_IPV6, IPV6_RTHDRDSTOPTS, "IPV6_RTHDRDSTOPTS", 0, 512},
    {SOL_IPV6, IPV6_RECVRTHDR, "IPV6_RECVRTHDR", 0},
    {SOL_IPV6, IPV6_RTHDR, "IPV6_RTHDR", 0, 512},
    {SOL_IPV6, IPV6_RECVDSTOPTS, "IPV6_RECVDSTOPTS", 0},
    {SOL_IPV6, IPV6_DSTOPTS, "IPV6_DSTOPTS", 0, 512},
    {SOL_IPV6, IPV6_RECVPATHMTU, "IPV6_RECVPATHMTU", 0},
    {SOL_IPV6, IPV6_DONTFRAG, "IPV6_DONTFRAG", 0},
    {SOL_IPV6, IPV6_RECVTCLASS, "IPV6_RECVTCLASS", 0},
    {SOL_IPV6, IPV6_TCLASS, "IPV6_TCLASS", 0},
    {SOL_IPV6, IPV6_AUTOFLOWLABEL, "IPV6_AUTOFLOWLABEL", 1, 4, kLenient},
    {SOL_IPV6, IPV6_ADDR_PREFERENCES, "IPV6_ADDR_PREFERENCES", 0x500, 4, kLenient},
    {SOL_IPV6, IPV6_MINHOPCOUNT, "IPV6_MINHOPCOUNT", 0},
    {SOL_IPV6, IPV6_ORIGDSTADDR, "IPV6_RECVORIGDSTADDR", 0},
    {SOL_IPV6, IPV6_UNICAST_IF, "IPV6_UNICAST_IF", 0, 4, false, kEarly},
    {SOL_IPV6, kIp6RecvFragSize, "IPV6_RECVFRAGSIZE", 0},
};
constexpr SocketOption kTcp[] = {
    {SOL_TCP, TCP_SYNCNT, "TCP_SYNCNT", 6},
    {SOL_TCP, TCP_LINGER2, "TCP_LINGER2", 60},
    {SOL_TCP, TCP_DEFER_ACCEPT, "TCP_DEFER_ACCEPT", 0},
    {SOL_TCP, TCP_QUICKACK, "TCP_QUICKACK", 1},
    {SOL_TCP, TCP_THIN_LINEAR_TIMEOUTS, "TCP_THIN_LINEAR_TIMEOUTS", 0},
    {SOL_TCP, TCP_USER_TIMEOUT, "TCP_USER_TIMEOUT", 0},
    {SOL_TCP, TCP_NOTSENT_LOWAT, "TCP_NOTSENT_LOWAT", 0},
    {SOL_TCP, TCP_SAVE_SYN, "TCP_SAVE_SYN", 0},
    {SOL_TCP, TCP_INQ, "TCP_INQ", 0},
    {SOL_TCP, kTcpTxDelay, "TCP_TX_DELAY", 0, 4, kLenient},
    {SOL_TCP, kTcpRtoMax, "TCP_RTO_MAX_MS", 120000, 4, kLenient},
    {SOL_TCP, kTcpRtoMin, "TCP_RTO_MIN_US", 200000, 4, kLenient},
    {SOL_TCP, kTcpDelayedAck, "TCP_DELACK_MAX_US", 200000, 4, kLenient},
    {SOL_TCP, TCP_CONGESTION, "TCP_CONGESTION", 0, 16},
};
// Only of sockets without a connection; a connection has its own values there.
constexpr SocketOption kTcpUnconnected[] = {
    {SOL_TCP, TCP_MAXSEG, "TCP_MAXSEG", 536, 4, kLenient},
    {SOL_TCP, TCP_WINDOW_CLAMP, "TCP_WINDOW_CLAMP", 0},
    {SOL_TCP, TCP_FASTOPEN_CONNECT, "TCP_FASTOPEN_CONNECT", 0, 4, kLenient, kEarly},
    {SOL_TCP, TCP_FASTOPEN_NO_COOKIE, "TCP_FASTOPEN_NO_COOKIE", 0, 4, kLenient},
    {SOL_TCP, TCP_FASTOPEN, "TCP_FASTOPEN", 0},
};
constexpr SocketOption kUdp[] = {
    {SOL_UDP, UDP_CORK, "UDP_CORK", 0},
    {SOL_UDP, UDP_ENCAP, "UDP_ENCAP", 0},
    {SOL_UDP, kUdpNoCheck6Tx, "UDP_NO_CHECK6_TX", 0},
    {SOL_UDP, kUdpNoCheck6Rx, "UDP_NO_CHECK6_RX", 0},
    {SOL_UDP, kUdpSegment, "UDP_SEGMENT", 0},
    {SOL_UDP, kUdpGro, "UDP_GRO", 0},
};
constexpr SocketOption kUdpLite[] = {
    {kLevelUdpLite, UDP_CORK, "UDP_CORK", 0},
    {kLevelUdpLite, kUdpLiteSend, "UDPLITE_SEND_CSCOV", 0},
    {kLevelUdpLite, kUdpLiteReceive, "UDPLITE_RECV_CSCOV", 0},
};
constexpr SocketOption kRaw6[] = {
    {SOL_IPV6, kIp6Hdrincl, "IPV6_HDRINCL", 0, 4, kLenient},
    {kLevelRaw, kIp6Checksum, "IPV6_CHECKSUM", -1, 4, kLenient}, // ICMPv6's cannot be changed
};

bool is_tcp(const img::inet_sk_entry &entry) {
    return entry.type() == SOCK_STREAM;
}

bool is_unconnected(const img::inet_sk_entry &entry) {
    return entry.state() == TCP_LISTEN || entry.state() == TCP_CLOSE;
}

/// All rows that apply to a socket. Restores take what any state could have written.
std::vector<SocketOption> table_for(const img::inet_sk_entry &entry, bool any_state) {
    std::vector<SocketOption> table;
    auto add = [&](std::span<const SocketOption> rows) {
        for (const SocketOption &row : rows)
            table.push_back(row);
    };
    if (is_tcp(entry)) {
        if (any_state || is_unconnected(entry))
            add(kTcpUnconnected);
        add(kTcp);
    }
    add(kIp);
    if (entry.family() == AF_INET6)
        add(kIp6);
    if (!is_tcp(entry)) {
        add(kIpMulticast);
        if (entry.family() == AF_INET)
            add(kIpMulticastAll);
        else
            add(kIp6Multicast);
    }
    if (entry.type() == SOCK_DGRAM && entry.proto() == IPPROTO_UDP)
        add(kUdp);
    if (entry.type() == SOCK_DGRAM && entry.proto() == IPPROTO_UDPLITE)
        add(kUdpLite);
    if (entry.type() == SOCK_RAW && entry.family() == AF_INET6)
        add(kRaw6);
    return table;
}

uint32_t number(int fd, int level, int name) {
    return static_cast<uint32_t>(int_option(fd, level, name));
}

void dump_raw(int fd, const img::inet_sk_entry &entry, img::ip_opts_raw_entry *raw) {
    if (number(fd, SOL_IP, IP_HDRINCL))
        raw->set_hdrincl(true);
    if (number(fd, SOL_IP, IP_NODEFRAG))
        raw->set_nodefrag(true);
    if (number(fd, SOL_IP, IP_CHECKSUM))
        raw->set_checksum(true);
    const bool icmp6 = entry.family() == AF_INET6 && entry.proto() == IPPROTO_ICMPV6;
    if (!icmp6 && entry.proto() != IPPROTO_ICMP)
        return;
    uint32_t filter[8] = {};
    socklen_t length = icmp6 ? sizeof filter : sizeof(icmp_filter);
    if (getsockopt(fd, icmp6 ? kLevelIcmp6 : kLevelRaw, kIcmpFilter, filter, &length) == 0)
        for (size_t i = 0; i < length / sizeof filter[0]; i++)
            raw->add_icmpv_filter(filter[i]);
}

void dump_tcp(int fd, img::tcp_opts_entry *tcp) {
    if (number(fd, SOL_TCP, TCP_CORK))
        tcp->set_cork(true);
    if (number(fd, SOL_TCP, TCP_NODELAY))
        tcp->set_nodelay(true);
    tcp->set_keepcnt(number(fd, SOL_TCP, TCP_KEEPCNT));
    tcp->set_keepidle(number(fd, SOL_TCP, TCP_KEEPIDLE));
    tcp->set_keepintvl(number(fd, SOL_TCP, TCP_KEEPINTVL));
}

/// A host's choice is not a program's.
void drop_usual_congestion(std::string_view usual, OptionList *list) {
    for (int i = list->size(); i-- > 0;) {
        img::ext_socket_option &option = (*list)[i];
        if (option.level() != SOL_TCP || option.name() != TCP_CONGESTION)
            continue;
        option.mutable_data()->resize(strnlen(option.data().data(), option.data().size()));
        if (option.data() == usual)
            list->DeleteSubrange(i, 1);
    }
}

} // namespace

std::string congestion_of(int fd) {
    char name[16] = {};
    socklen_t length = sizeof name - 1;
    return getsockopt(fd, SOL_TCP, TCP_CONGESTION, name, &length) == 0 ? name : "";
}

Result<void> dump_inet_options(int fd, img::inet_sk_entry *entry, std::string_view usual_congestion) {
    img::ip_opts_entry *ip = entry->mutable_ip_opts();
    if (number(fd, SOL_IP, IP_FREEBIND))
        ip->set_freebind(true);
    // Of IPv6 sockets CRIU means IPv6's by it.
    if (entry->family() == AF_INET6 ? number(fd, SOL_IPV6, IPV6_RECVPKTINFO) : number(fd, SOL_IP, IP_PKTINFO))
        ip->set_pktinfo(true);
    if (uint32_t tos = number(fd, SOL_IP, IP_TOS))
        ip->set_tos(tos);
    if (entry->family() == AF_INET)
        ip->set_ttl(number(fd, SOL_IP, IP_TTL));
    else
        entry->set_v6only(number(fd, SOL_IPV6, IPV6_V6ONLY));
    if (entry->type() == SOCK_RAW)
        dump_raw(fd, *entry, ip->mutable_raw());
    entry->mutable_tcp_opts();
    if (is_tcp(*entry))
        dump_tcp(fd, entry->mutable_tcp_opts());
    OptionList list;
    TRY(dump_option_list(fd, table_for(*entry, false), &list));
    drop_usual_congestion(usual_congestion, &list);
    if (!list.empty())
        *entry->mutable_ext()->mutable_options() = list;
    return {};
}

// ---- restore -------------------------------------------------------------------------------------------------------

namespace {

/// Sets a number unless the socket has it already.
Result<void> bring_to(int fd, int level, int name, uint32_t wanted, const char *text) {
    if (number(fd, level, name) == wanted)
        return {};
    return set_int_option(fd, level, name, static_cast<int>(wanted), text);
}

Result<void> restore_raw(int fd, const img::inet_sk_entry &entry) {
    const img::ip_opts_raw_entry &raw = entry.ip_opts().raw();
    if (raw.hdrincl() || entry.proto() == IPPROTO_RAW)
        if (entry.family() == AF_INET)
            TRY(bring_to(fd, SOL_IP, IP_HDRINCL, raw.hdrincl(), "IP_HDRINCL"));
    if (raw.nodefrag())
        TRY(set_int_option(fd, SOL_IP, IP_NODEFRAG, 1, "IP_NODEFRAG"));
    if (raw.checksum())
        TRY(set_int_option(fd, SOL_IP, IP_CHECKSUM, 1, "IP_CHECKSUM"));
    if (raw.icmpv_filter_size() == 0)
        return {};
    if (raw.icmpv_filter_size() > 8)
        return base::bad_image("an ICMP filter that is too long");
    const bool v6 = entry.family() == AF_INET6;
    if (setsockopt(fd, v6 ? kLevelIcmp6 : kLevelRaw, kIcmpFilter, raw.icmpv_filter().data(),
                   static_cast<socklen_t>(raw.icmpv_filter_size() * 4)) < 0)
        return base::fail_sys("set the ICMP filter");
    return {};
}

Result<void> restore_tcp(int fd, const img::tcp_opts_entry &tcp) {
    if (tcp.nodelay())
        TRY(set_int_option(fd, SOL_TCP, TCP_NODELAY, 1, "TCP_NODELAY"));
    if (tcp.cork())
        TRY(set_int_option(fd, SOL_TCP, TCP_CORK, 1, "TCP_CORK"));
    if (tcp.has_keepcnt())
        TRY(bring_to(fd, SOL_TCP, TCP_KEEPCNT, tcp.keepcnt(), "TCP_KEEPCNT"));
    if (tcp.has_keepidle())
        TRY(bring_to(fd, SOL_TCP, TCP_KEEPIDLE, tcp.keepidle(), "TCP_KEEPIDLE"));
    if (tcp.has_keepintvl())
        TRY(bring_to(fd, SOL_TCP, TCP_KEEPINTVL, tcp.keepintvl(), "TCP_KEEPINTVL"));
    return {};
}

} // namespace

Result<void> restore_early_inet_options(int fd, const img::inet_sk_entry &entry) {
    if (entry.ip_opts().freebind())
        TRY(set_int_option(fd, SOL_IP, IP_FREEBIND, 1, "IP_FREEBIND"));
    if (entry.family() == AF_INET6 && entry.has_v6only())
        TRY(bring_to(fd, SOL_IPV6, IPV6_V6ONLY, entry.v6only(), "IPV6_V6ONLY"));
    if (entry.ext().options_size())
        TRY(restore_option_list(fd, table_for(entry, true), entry.ext().options(), OptionPhase::Early));
    return {};
}

Result<void> restore_inet_options(int fd, const img::inet_sk_entry &entry) {
    const img::ip_opts_entry &ip = entry.ip_opts();
    if (ip.pktinfo() && entry.family() == AF_INET6)
        TRY(set_int_option(fd, SOL_IPV6, IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO"));
    else if (ip.pktinfo())
        TRY(set_int_option(fd, SOL_IP, IP_PKTINFO, 1, "IP_PKTINFO"));
    if (ip.tos())
        TRY(set_int_option(fd, SOL_IP, IP_TOS, static_cast<int>(ip.tos()), "IP_TOS"));
    if (ip.ttl())
        TRY(bring_to(fd, SOL_IP, IP_TTL, ip.ttl(), "IP_TTL"));
    if (entry.type() == SOCK_RAW)
        TRY(restore_raw(fd, entry));
    if (is_tcp(entry))
        TRY(restore_tcp(fd, entry.tcp_opts()));
    if (entry.ext().options_size())
        TRY(restore_option_list(fd, table_for(entry, true), entry.ext().options()));
    return {};
}

} // namespace resource
