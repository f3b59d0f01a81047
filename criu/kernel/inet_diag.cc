#include "criu/kernel/inet_diag.hh"

#include "criu/kernel/netlink.hh"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace kernel {
namespace {

struct DumpRequest {
    nlmsghdr header{};
    inet_diag_req_v2 body{};
};

InetSocketFacts facts_of(const inet_diag_msg &message) {
    InetSocketFacts facts{.inode = message.idiag_inode,
                          .family = message.idiag_family,
                          .state = message.idiag_state,
                          .local_port = ntohs(message.id.idiag_sport),
                          .peer_port = ntohs(message.id.idiag_dport),
                          .interface = message.id.idiag_if,
                          .received = message.idiag_rqueue,
                          .unsent = message.idiag_wqueue};
    memcpy(facts.local.data(), message.id.idiag_src, sizeof facts.local);
    memcpy(facts.peer.data(), message.id.idiag_dst, sizeof facts.peer);
    return facts;
}

/// Returns false where the socket is gone already or the kernel cannot do it.
bool destroy(const InetSocketFacts &facts) {
    inet_diag_req_v2 body{};
    body.sdiag_family = facts.family;
    body.sdiag_protocol = IPPROTO_TCP;
    body.idiag_states = ~0u;
    body.id.idiag_sport = htons(facts.local_port);
    body.id.idiag_dport = htons(facts.peer_port);
    memcpy(body.id.idiag_src, facts.local.data(), sizeof facts.local);
    memcpy(body.id.idiag_dst, facts.peer.data(), sizeof facts.peer);
    body.id.idiag_if = facts.interface;
    body.id.idiag_cookie[0] = body.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
    Request request(SOCK_DESTROY);
    request.append(&body, sizeof body);
    return netlink_do(NETLINK_SOCK_DIAG, request).has_value();
}

} // namespace

Result<size_t> destroy_remains(uint16_t local_port) {
    constexpr uint32_t kStates =
        1u << TCP_TIME_WAIT | 1u << TCP_FIN_WAIT1 | 1u << TCP_FIN_WAIT2 | 1u << TCP_CLOSING | 1u << TCP_LAST_ACK;
    size_t destroyed = 0;
    for (int family : {AF_INET, AF_INET6})
        for (const InetSocketFacts &facts : TRY(list_inet_sockets(family, IPPROTO_TCP, kStates)))
            if (!facts.inode && facts.local_port == local_port && destroy(facts))
                ++destroyed;
    return destroyed;
}

Result<std::vector<InetSocketFacts>> list_inet_sockets(int family, int protocol, uint32_t states) {
    DumpRequest request;
    request.body.sdiag_family = static_cast<uint8_t>(family);
    request.body.sdiag_protocol = static_cast<uint8_t>(protocol);
    request.body.idiag_states = states;
    std::vector<InetSocketFacts> found;
    auto visit = [&](std::string_view body) -> Result<void> {
        if (body.size() < sizeof(inet_diag_msg))
            return base::fail_sys(EBADMSG, "list of internet sockets");
        InetSocketFacts facts = facts_of(value_of<inet_diag_msg>(body));
        TRY(for_each_attribute(body.substr(sizeof(inet_diag_msg)), [&](int type, std::string_view value) {
            if (type == INET_DIAG_SHUTDOWN)
                facts.shutdown = value_of<uint8_t>(value);
        }));
        found.push_back(facts);
        return {};
    };
    auto listed = netlink_dump(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, &request, sizeof request, visit);
    if (!listed && listed.error().code() != ENOENT) // the kernel does not list this protocol
        return base::fail(std::move(listed.error().ctx("list all internet sockets")));
    return found;
}

} // namespace kernel
