// Addresses and routes go with the device. They are kept as the kernel's own messages and sent back with another
// request type, and another index where the device has got one. What the kernel adds by itself (local and connected
// routes, neighbours that it has found) it adds again.
#include "criu/kernel/netlink.hh"
#include "criu/resource/file/tun/tun.hh"

#include <algorithm>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <optional>
#include <sys/socket.h>

namespace resource {
namespace {

using Messages = google::protobuf::RepeatedPtrField<std::string>;

template <class Body> struct Question {
    nlmsghdr head{};
    Body body{};
};

std::optional<std::string> attribute(std::string_view message, size_t body, int wanted) {
    std::optional<std::string> found;
    (void)kernel::for_each_attribute(message.substr(std::min(message.size(), NLMSG_ALIGN(body))),
                                     [&](int type, std::string_view value) {
                                         if (type == wanted)
                                             found = value;
                                     });
    return found;
}

uint32_t number(std::string_view message, size_t body, int wanted) {
    const auto found = attribute(message, body, wanted);
    return found ? kernel::value_of<uint32_t>(*found) : 0;
}

Result<void> dump_addresses(uint32_t index, Messages *out) {
    Question<ifaddrmsg> question;
    return kernel::netlink_dump(NETLINK_ROUTE, RTM_GETADDR, &question, sizeof question,
                                [&](std::string_view message) -> Result<void> {
                                    if (kernel::value_of<ifaddrmsg>(message).ifa_index == index)
                                        out->Add(std::string(message));
                                    return {};
                                });
}

bool leads_over(std::string_view message, uint32_t index) {
    const auto hops = attribute(message, sizeof(rtmsg), RTA_MULTIPATH);
    std::string_view rest = hops ? std::string_view(*hops) : std::string_view();
    while (rest.size() >= sizeof(rtnexthop)) {
        const auto hop = kernel::value_of<rtnexthop>(rest);
        if (static_cast<uint32_t>(hop.rtnh_ifindex) == index)
            return true;
        rest.remove_prefix(std::clamp<size_t>(RTNH_ALIGN(hop.rtnh_len), sizeof hop, rest.size()));
    }
    return false;
}

bool is_added_by_itself(std::string_view message) {
    const auto route = kernel::value_of<rtmsg>(message);
    return route.rtm_table == RT_TABLE_LOCAL || route.rtm_protocol == RTPROT_KERNEL ||
           route.rtm_protocol == RTPROT_RA || route.rtm_protocol == RTPROT_REDIRECT || (route.rtm_flags & RTM_F_CLONED);
}

Result<void> dump_routes(base::Log &log, uint32_t index, int family, Messages *out) {
    Question<rtmsg> question;
    question.body.rtm_family = static_cast<uint8_t>(family);
    return kernel::netlink_dump(
        NETLINK_ROUTE, RTM_GETROUTE, &question, sizeof question, [&](std::string_view message) -> Result<void> {
            if (leads_over(message, index))
                log.warn("a route over several devices, one of them a tun device, is not kept");
            else if (number(message, sizeof(rtmsg), RTA_OIF) == index && !is_added_by_itself(message))
                out->Add(std::string(message));
            return {};
        });
}

Result<void> dump_neighbours(uint32_t index, Messages *out) {
    Question<ndmsg> question;
    return kernel::netlink_dump(
        NETLINK_ROUTE, RTM_GETNEIGH, &question, sizeof question, [&](std::string_view message) -> Result<void> {
            const auto found = kernel::value_of<ndmsg>(message);
            if (static_cast<uint32_t>(found.ndm_ifindex) == index && (found.ndm_state & NUD_PERMANENT))
                out->Add(std::string(message));
            return {};
        });
}

// ---- restore -------------------------------------------------------------------------------------------------------

/// Something like it may be there already: the kernel's own link-local address, say.
Result<void> send(int type, std::string_view message, const char *what) {
    kernel::Request request(type, NLM_F_CREATE | NLM_F_REPLACE);
    request.append(message.data(), message.size());
    auto done = kernel::netlink_do(NETLINK_ROUTE, request);
    if (!done && done.error().code() != EEXIST)
        return base::fail(std::move(done.error().ctx(what)));
    return {};
}

template <class Body> Result<Body> body_of(const std::string &message) {
    if (message.size() < sizeof(Body))
        return base::bad_image("a message about a network device that is too short");
    return kernel::value_of<Body>(message);
}

/// Overwrites the value of an attribute, a 32-bit number.
void overwrite(std::string &message, size_t body, int wanted, uint32_t value) {
    for (size_t at = NLMSG_ALIGN(body); at + sizeof(nlattr) + sizeof value <= message.size();) {
        const auto head = kernel::value_of<nlattr>(std::string_view(message).substr(at));
        if ((head.nla_type & NLA_TYPE_MASK) == wanted && head.nla_len == sizeof head + sizeof value)
            message.replace(at + sizeof head, sizeof value, reinterpret_cast<const char *>(&value), sizeof value);
        at += std::max<size_t>(NLMSG_ALIGN(head.nla_len), sizeof head);
    }
}

/// Without asking the neighbours whether an address is taken: it would not be there meanwhile.
Result<void> restore_address(uint32_t index, std::string message) {
    auto body = TRY(body_of<ifaddrmsg>(message));
    const uint32_t flags = number(message, sizeof body, IFA_FLAGS);
    body.ifa_index = index;
    if (body.ifa_family == AF_INET6)
        body.ifa_flags |= IFA_F_NODAD;
    message.replace(0, sizeof body, reinterpret_cast<const char *>(&body), sizeof body);
    overwrite(message, sizeof body, IFA_FLAGS,
              body.ifa_family == AF_INET6 ? (flags & ~uint32_t{IFA_F_TENTATIVE}) | IFA_F_NODAD : flags);
    return send(RTM_NEWADDR, message, "add an address to a tun device");
}

Result<void> restore_route(uint32_t index, std::string message) {
    auto body = TRY(body_of<rtmsg>(message));
    body.rtm_flags &= RTNH_F_ONLINK | RTNH_F_PERVASIVE; // the others tell a state
    message.replace(0, sizeof body, reinterpret_cast<const char *>(&body), sizeof body);
    overwrite(message, sizeof body, RTA_OIF, index);
    return send(RTM_NEWROUTE, message, "add a route over a tun device");
}

Result<void> restore_neighbour(uint32_t index, std::string message) {
    auto body = TRY(body_of<ndmsg>(message));
    body.ndm_ifindex = static_cast<int>(index);
    message.replace(0, sizeof body, reinterpret_cast<const char *>(&body), sizeof body);
    return send(RTM_NEWNEIGH, message, "add a neighbour to a tun device");
}

} // namespace

Result<void> dump_addresses_and_routes(base::Log &log, uint32_t index, img::ext_net_device *ext) {
    TRY(dump_addresses(index, ext->mutable_addresses()));
    TRY(dump_routes(log, index, AF_INET, ext->mutable_routes()));
    TRY(dump_routes(log, index, AF_INET6, ext->mutable_routes()));
    return dump_neighbours(index, ext->mutable_neighbours());
}

Result<void> restore_addresses_and_routes(uint32_t index, const img::ext_net_device &ext) {
    for (const std::string &message : ext.addresses())
        TRY(restore_address(index, message));
    // Gateways are reached by the other routes.
    for (const bool by_gateway : {false, true})
        for (const std::string &message : ext.routes())
            if ((attribute(message, sizeof(rtmsg), RTA_GATEWAY) || attribute(message, sizeof(rtmsg), RTA_VIA)) ==
                by_gateway)
                TRY(restore_route(index, message));
    for (const std::string &message : ext.neighbours())
        TRY(restore_neighbour(index, message));
    return {};
}

} // namespace resource
