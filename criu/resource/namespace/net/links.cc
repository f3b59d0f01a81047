// Links of a network namespace. So far there is one that can be made again: the loopback, which every namespace has.
#include "criu/kernel/netlink.hh"
#include "criu/resource/namespace/net/net.hh"

#include <fmt/format.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>

namespace resource::net {
namespace {

struct Link {
    ifinfomsg head{};
    std::string name, kind;
    uint32_t mtu = 0;
};

void note(Link &link, int type, std::string_view value) {
    const auto text = [](std::string_view bytes) { return std::string(bytes.substr(0, bytes.find('\0'))); };
    if (type == IFLA_IFNAME)
        link.name = text(value);
    if (type == IFLA_MTU)
        link.mtu = kernel::value_of<uint32_t>(value);
    if (type == IFLA_LINKINFO)
        (void)kernel::for_each_attribute(value, [&](int inner, std::string_view kind) {
            if (inner == IFLA_INFO_KIND)
                link.kind = text(kind);
        });
}

Result<std::vector<Link>> list_links() {
    struct {
        nlmsghdr head{};
        ifinfomsg body{};
    } question;
    std::vector<Link> links;
    TRY(kernel::netlink_dump(
        NETLINK_ROUTE, RTM_GETLINK, &question, sizeof question, [&](std::string_view message) -> Result<void> {
            Link &link = links.emplace_back();
            link.head = kernel::value_of<ifinfomsg>(message);
            return kernel::for_each_attribute(message.substr(std::min(sizeof link.head, message.size())),
                                              [&](int type, std::string_view value) { note(link, type, value); });
        }));
    return links;
}

bool is_loopback(const Link &link) {
    return link.head.ifi_type == ARPHRD_LOOPBACK;
}

/// Made by the kernel in every namespace as soon as its module is there ("sit0", "tunl0"), down and without use.
bool is_fallback(const Link &link) {
    constexpr std::string_view kNames[] = {"sit0",    "tunl0",    "gre0",    "gretap0", "erspan0",
                                           "ip_vti0", "ip6_vti0", "ip6tnl0", "ip6gre0"};
    return !(link.head.ifi_flags & IFF_UP) && std::ranges::find(kNames, link.name) != std::end(kNames);
}

} // namespace

Result<void> check_links() {
    for (const Link &link : TRY(list_links()))
        if (!is_loopback(link) && !is_fallback(link) && link.kind != "tun") // tun devices come with their files
            return base::unsupported(fmt::format("its link {} ({}) cannot be made again yet", link.name,
                                                 link.kind.empty() ? "of the hardware's" : link.kind));
    return {};
}

Result<void> dump_links(NamespaceDumpContext &context, uint32_t id) {
    for (const Link &link : TRY(list_links())) {
        if (!is_loopback(link))
            continue;
        img::net_device_entry device;
        device.set_type(img::LOOPBACK);
        device.set_ifindex(static_cast<uint32_t>(link.head.ifi_index));
        device.set_mtu(link.mtu);
        device.set_flags(link.head.ifi_flags);
        device.set_name(link.name);
        TRY(read_link_settings(link.name, device));
        TRY(context.images.add(image::ImageKind::Netdev, id, device));
    }
    return {};
}

Result<void> fill_links(NamespaceFillContext &context) {
    constexpr uint32_t kSettable = IFF_UP | IFF_PROMISC | IFF_ALLMULTI | IFF_NOARP | IFF_MULTICAST;
    for (const auto &device : TRY(context.images.read<img::net_device_entry>(image::ImageKind::Netdev, context.id))) {
        if (device.type() == img::TUN)
            continue;
        if (device.type() != img::LOOPBACK)
            return base::unsupported(fmt::format("link {}: links of the kind {} are not restored yet", device.name(),
                                                 img::nd_type_Name(device.type())));
        TRY(write_link_settings(device, context.log));
        kernel::Request request(RTM_SETLINK);
        ifinfomsg body{};
        body.ifi_index = 1; // the loopback's, always
        body.ifi_flags = device.flags() & kSettable;
        body.ifi_change = kSettable;
        request.append(&body, sizeof body);
        if (device.mtu())
            request.attribute(IFLA_MTU, device.mtu());
        TRY_CTX(kernel::netlink_do(NETLINK_ROUTE, request), fmt::format("set up the link {}", device.name()));
    }
    return {};
}

} // namespace resource::net
