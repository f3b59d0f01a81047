// Neighbours and forwarding entries that somebody has set, as the kernel's own messages. Those that it has learned it
// learns again.
#include "criu/kernel/netlink.hh"
#include "criu/resource/namespace/net/link.hh"

#include <algorithm>
#include <cerrno>
#include <linux/neighbour.h>
#include <sys/socket.h>

namespace resource::net {
namespace {

Result<std::vector<std::string>> list(uint8_t family) {
    struct {
        nlmsghdr head{};
        ndmsg body{};
    } question;
    question.body.ndm_family = family;
    std::vector<std::string> messages;
    TRY(kernel::netlink_dump(NETLINK_ROUTE, RTM_GETNEIGH, &question, sizeof question,
                             [&](std::string_view message) -> Result<void> {
                                 messages.emplace_back(message);
                                 return {};
                             }));
    return messages;
}

std::string address_in(std::string_view message) {
    std::string address;
    (void)kernel::for_each_attribute(message.substr(std::min(sizeof(ndmsg), message.size())),
                                     [&](int type, std::string_view value) {
                                         if (type == NDA_LLADDR)
                                             address = value;
                                     });
    return address;
}

/// A bridge has entries of its own for the addresses of its ports, every device has some for groups.
bool is_set_by_somebody(const ndmsg &entry, std::string_view message, const Link &link) {
    if (link.kind == "vxlan")
        return entry.ndm_flags & NTF_SELF;
    if (entry.ndm_flags & NTF_SELF || !link.master)
        return false;
    return entry.ndm_state & NUD_NOARP || (entry.ndm_state & NUD_PERMANENT && address_in(message) != link.address);
}

Result<void> send(std::string_view message) {
    kernel::Request request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_APPEND);
    request.append(message.data(), message.size());
    auto done = kernel::netlink_do(NETLINK_ROUTE, request);
    if (!done && done.error().code() != EEXIST)
        return base::fail(std::move(done.error().ctx("set up a neighbour")));
    return {};
}

} // namespace

Result<Neighbours> Neighbours::list() {
    return Neighbours{.neighbours = TRY(net::list(AF_UNSPEC)), .forwarding = TRY(net::list(AF_BRIDGE))};
}

void describe_neighbours(const Neighbours &all, const Link &link, img::ext_net_device &ext) {
    for (const std::string &message : all.neighbours) {
        const auto entry = kernel::value_of<ndmsg>(message);
        if (entry.ndm_ifindex == link.head.ifi_index && entry.ndm_family != AF_BRIDGE &&
            entry.ndm_state & NUD_PERMANENT)
            ext.add_neighbours(message);
    }
    for (const std::string &message : all.forwarding) {
        const auto entry = kernel::value_of<ndmsg>(message);
        if (entry.ndm_ifindex == link.head.ifi_index && is_set_by_somebody(entry, message, link))
            ext.add_forwarding(message);
    }
}

Result<void> fill_neighbours(const img::net_device_entry &device) {
    for (const std::string &message : device.ext().neighbours())
        TRY(send(message));
    for (const std::string &message : device.ext().forwarding())
        TRY(send(message));
    return {};
}

} // namespace resource::net
