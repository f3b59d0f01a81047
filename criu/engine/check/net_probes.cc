// Probes about sockets and the network. Whatever would change the network runs in a child with a namespace of its own.

#include "criu/engine/check/probes.hh"

#include "base/unique_fd.hh"
#include "criu/kernel/child.hh"
#include "criu/kernel/io.hh"
#include "criu/kernel/netlink.hh"
#include "criu/kernel/network_lock.hh"

#include <arpa/inet.h>
#include <cstring>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/inet_diag.h>
#include <linux/net_namespace.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

namespace check {

namespace {

using base::UniqueFd;

constexpr int kSiocUnixFile = SIOCPROTOPRIVATE + 0; // SIOCUNIXFILE
constexpr int kSiocGskns = 0x894C;                  // SIOCGSKNS
constexpr int kIpv6Freebind = 78;                   // IPV6_FREEBIND
constexpr int kIflaTargetNetnsid = 46;              // IFLA_TARGET_NETNSID

Result<UniqueFd> open_socket(int family, int type, int protocol = 0) {
    UniqueFd fd(socket(family, type | SOCK_CLOEXEC, protocol));
    if (!fd)
        return base::fail_sys("socket");
    return fd;
}

int set_repair(int fd, int value) {
    return setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &value, sizeof value);
}

/// A TCP connection over the loopback device, within this process.
struct Connection {
    UniqueFd listener, client, server;
};

Result<Connection> connect_loopback() {
    Connection out{TRY(open_socket(AF_INET, SOCK_STREAM)), TRY(open_socket(AF_INET, SOCK_STREAM)), UniqueFd()};
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto *any = reinterpret_cast<sockaddr *>(&address);
    socklen_t size = sizeof address;
    if (bind(out.listener.get(), any, size) != 0 || listen(out.listener.get(), 1) != 0 ||
        getsockname(out.listener.get(), any, &size) != 0 || connect(out.client.get(), any, size) != 0)
        return base::fail_sys("a TCP connection over loopback");
    out.server.reset(accept4(out.listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    TRY(expect(static_cast<bool>(out.server), "accept"));
    return out;
}

int enter_new_netns() {
    return unshare(CLONE_NEWNET) == 0 ? 0 : errno;
}

int code_of(const Result<void> &result) {
    if (result)
        return 0;
    return result.error().code() ? result.error().code() : EOPNOTSUPP;
}

/// Runs `body` in a child with a network namespace of its own.
template <Result<void> (*Body)()> Result<void> in_netns(const char *what) {
    return kernel::in_child(what, [] {
        int code = enter_new_netns();
        return code ? code : code_of(Body());
    });
}

} // namespace

Result<void> sock_diag() {
    struct {
        nlmsghdr head;
        unix_diag_req body;
    } request{};
    request.body.sdiag_family = AF_UNIX;
    request.body.udiag_states = ~0u;
    request.body.udiag_show = UDIAG_SHOW_NAME;
    return kernel::netlink_dump(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, &request, sizeof request);
}

Result<void> net_diag_raw() {
    struct {
        nlmsghdr head;
        inet_diag_req_v2 body;
    } request{};
    request.body.sdiag_family = AF_INET;
    request.body.sdiag_protocol = IPPROTO_RAW;
    request.body.idiag_states = ~0u;
    return kernel::netlink_dump(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, &request, sizeof request);
}

Result<void> peek_offset() {
    UniqueFd fd = TRY(open_socket(AF_UNIX, SOCK_STREAM));
    int value = 1;
    return expect(setsockopt(fd.get(), SOL_SOCKET, SO_PEEK_OFF, &value, sizeof value) == 0, "SO_PEEK_OFF");
}

Result<void> socket_filter() {
    UniqueFd fd = TRY(open_socket(AF_UNIX, SOCK_STREAM));
    socklen_t size = 0;
    return expect(getsockopt(fd.get(), SOL_SOCKET, SO_GET_FILTER, nullptr, &size) == 0, "SO_GET_FILTER");
}

Result<void> tcp_repair() {
    UniqueFd fd = TRY(open_socket(AF_INET, SOCK_STREAM));
    return expect(set_repair(fd.get(), 1) == 0 && set_repair(fd.get(), 0) == 0, "TCP_REPAIR");
}

Result<void> tcp_half_closed() {
    Connection pair = TRY(connect_loopback());
    if (shutdown(pair.client.get(), SHUT_WR) != 0)
        return base::fail_sys("shutdown");
    constexpr int kOffWithoutProbe = -1;
    return expect(set_repair(pair.client.get(), 1) == 0 && set_repair(pair.client.get(), kOffWithoutProbe) == 0,
                  "TCP_REPAIR of a half closed connection");
}

Result<void> socket_namespace() {
    UniqueFd fd = TRY(open_socket(AF_UNIX, SOCK_STREAM));
    UniqueFd ns(ioctl(fd.get(), kSiocGskns));
    return expect(static_cast<bool>(ns), "SIOCGSKNS");
}

Result<void> unix_socket_file() {
    // The socket has no file, which only a kernel with the ioctl can say.
    UniqueFd fd = TRY(open_socket(AF_UNIX, SOCK_STREAM));
    int got = ioctl(fd.get(), kSiocUnixFile);
    return expect(got >= 0 || errno == ENOENT, "SIOCUNIXFILE");
}

Result<void> tun_device() {
    TRY(kernel::open_at(AT_FDCWD, "/dev/net/tun", O_RDWR));
    return {};
}

Result<void> tun_namespace() {
    UniqueFd fd = TRY(kernel::open_at(AT_FDCWD, "/dev/net/tun", O_RDWR));
    UniqueFd ns(ioctl(fd.get(), kSiocGskns));
    return expect(static_cast<bool>(ns), "SIOCGSKNS of a tun device");
}

Result<void> ipv6_freebind() {
    UniqueFd fd = TRY(open_socket(AF_INET6, SOCK_STREAM));
    int value = 1;
    return expect(setsockopt(fd.get(), SOL_IPV6, kIpv6Freebind, &value, sizeof value) == 0, "IPV6_FREEBIND");
}

namespace {

constexpr int kProbeNsid = 7;

/// Gives the own namespace an id in itself.
Result<void> name_own_netns() {
    UniqueFd self = TRY(kernel::open_at(AT_FDCWD, "/proc/self/ns/net", O_RDONLY));
    kernel::Request request(RTM_NEWNSID);
    rtgenmsg body{};
    request.append(&body, sizeof body);
    request.attribute(NETNSA_NSID, uint32_t{kProbeNsid});
    request.attribute(NETNSA_FD, static_cast<uint32_t>(self.get()));
    return kernel::netlink_do(NETLINK_ROUTE, request);
}

Result<void> query_link_by_nsid() {
    TRY(name_own_netns());
    kernel::Request request(RTM_GETLINK);
    ifinfomsg body{};
    body.ifi_index = 1; // lo
    request.append(&body, sizeof body);
    request.attribute(kIflaTargetNetnsid, uint32_t{kProbeNsid});
    return kernel::netlink_do(NETLINK_ROUTE, request);
}

Result<void> create_link_with_index() {
    kernel::Request request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
    ifinfomsg body{};
    body.ifi_index = 4711;
    request.append(&body, sizeof body);
    request.attribute_text(IFLA_IFNAME, "probe");
    size_t info = request.begin_nested(IFLA_LINKINFO);
    request.attribute_text(IFLA_INFO_KIND, "veth");
    request.end_nested(info);
    return kernel::netlink_do(NETLINK_ROUTE, request);
}

Result<void> lock_no_connections() {
    return TRY(kernel::HeldNetworkLock::take("probe", {})).release();
}

} // namespace

Result<void> netns_ids() {
    return in_netns<name_own_netns>("ids of network namespaces");
}
Result<void> link_in_other_netns() {
    return in_netns<query_link_by_nsid>("links by namespace id");
}
Result<void> new_ifindex() {
    return in_netns<create_link_with_index>("links with a chosen index");
}
Result<void> network_lock_nftables() {
    return in_netns<lock_no_connections>("nftables sets of connections");
}

Result<void> nftables() {
    kernel::Request request((NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETGEN);
    nfgenmsg body{};
    request.append(&body, sizeof body);
    return kernel::netlink_do(NETLINK_NETFILTER, request);
}

Result<void> iptables_legacy() {
    UniqueFd fd = TRY(open_socket(AF_INET, SOCK_RAW, IPPROTO_RAW));
    ipt_getinfo info{};
    std::strcpy(info.name, "filter");
    socklen_t size = sizeof info;
    return expect(getsockopt(fd.get(), SOL_IP, IPT_SO_GET_INFO, &info, &size) == 0, "the table filter of iptables");
}

} // namespace check
