#include "criu/kernel/inet_diag.hh"

#include "base/unique_fd.hh"

#include <algorithm>
#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace kernel {
namespace {

InetSocketFacts facts_of(const nlmsghdr *header) {
    const auto *message = static_cast<const inet_diag_msg *>(NLMSG_DATA(header));
    InetSocketFacts facts{.inode = message->idiag_inode,
                          .family = message->idiag_family,
                          .state = message->idiag_state,
                          .local_port = ntohs(message->id.idiag_sport),
                          .peer_port = ntohs(message->id.idiag_dport),
                          .interface = message->id.idiag_if,
                          .received = message->idiag_rqueue,
                          .unsent = message->idiag_wqueue};
    memcpy(facts.local.data(), message->id.idiag_src, sizeof facts.local);
    memcpy(facts.peer.data(), message->id.idiag_dst, sizeof facts.peer);
    int left = static_cast<int>(header->nlmsg_len - NLMSG_LENGTH(sizeof *message));
    for (auto *attribute = reinterpret_cast<const rtattr *>(message + 1); RTA_OK(attribute, left);
         attribute = RTA_NEXT(attribute, left))
        if (attribute->rta_type == INET_DIAG_SHUTDOWN)
            facts.shutdown = *static_cast<const uint8_t *>(RTA_DATA(attribute));
    return facts;
}

/// Returns whether more is to come.
Result<bool> take(const char *buffer, size_t bytes, std::vector<InetSocketFacts> &found) {
    auto left = static_cast<uint32_t>(bytes);
    for (auto *header = reinterpret_cast<const nlmsghdr *>(buffer); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
        if (header->nlmsg_type == NLMSG_DONE)
            return false;
        if (header->nlmsg_type == NLMSG_ERROR) {
            const int code = -static_cast<const nlmsgerr *>(NLMSG_DATA(header))->error;
            if (code == ENOENT)
                return false;
            return base::fail_sys(code, "list sockets (SOCK_DIAG)");
        }
        if (header->nlmsg_len >= NLMSG_LENGTH(sizeof(inet_diag_msg)))
            found.push_back(facts_of(header));
    }
    return true;
}

struct Request {
    nlmsghdr header{};
    inet_diag_req_v2 request{};
};

Result<bool> destroy(int fd, const InetSocketFacts &facts) {
    Request message;
    message.header = {sizeof message, SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK, 1, 0};
    message.request.sdiag_family = facts.family;
    message.request.sdiag_protocol = IPPROTO_TCP;
    message.request.idiag_states = ~0u;
    message.request.id.idiag_sport = htons(facts.local_port);
    message.request.id.idiag_dport = htons(facts.peer_port);
    memcpy(message.request.id.idiag_src, facts.local.data(), sizeof facts.local);
    memcpy(message.request.id.idiag_dst, facts.peer.data(), sizeof facts.peer);
    message.request.id.idiag_if = facts.interface;
    message.request.id.idiag_cookie[0] = message.request.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
    if (send(fd, &message, sizeof message, 0) < 0)
        return base::fail_sys("ask SOCK_DIAG");
    struct {
        nlmsghdr header{};
        nlmsgerr error{};
        char rest[256];
    } answer;
    if (recv(fd, &answer, sizeof answer, 0) < static_cast<ssize_t>(sizeof answer.header + sizeof answer.error.error))
        return base::fail_sys("hear from SOCK_DIAG");
    return answer.error.error == 0;
}

} // namespace

Result<size_t> destroy_remains(uint16_t local_port) {
    constexpr uint32_t kStates =
        1u << TCP_TIME_WAIT | 1u << TCP_FIN_WAIT1 | 1u << TCP_FIN_WAIT2 | 1u << TCP_CLOSING | 1u << TCP_LAST_ACK;
    base::UniqueFd fd(socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
    if (!fd)
        return base::fail_sys("open a socket for SOCK_DIAG");
    size_t destroyed = 0;
    for (int family : {AF_INET, AF_INET6})
        for (const InetSocketFacts &facts : TRY(list_inet_sockets(family, IPPROTO_TCP, kStates)))
            if (!facts.inode && facts.local_port == local_port)
                destroyed += TRY(destroy(fd.get(), facts));
    return destroyed;
}

Result<std::vector<InetSocketFacts>> list_inet_sockets(int family, int protocol, uint32_t states) {
    base::UniqueFd fd(socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
    if (!fd)
        return base::fail_sys("open a socket for SOCK_DIAG");
    Request message;
    message.header = {sizeof message, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 1, 0};
    message.request.sdiag_family = static_cast<uint8_t>(family);
    message.request.sdiag_protocol = static_cast<uint8_t>(protocol);
    message.request.idiag_states = states;
    if (send(fd.get(), &message, sizeof message, 0) < 0)
        return base::fail_sys("ask SOCK_DIAG");
    std::vector<InetSocketFacts> found;
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
