#include "criu/resource/namespace/net/link.hh"

#include <algorithm>
#include <fmt/format.h>
#include <linux/if_link.h>
#include <linux/veth.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/socket.h>

namespace resource::net {
namespace {

std::string text_of(std::string_view bytes) {
    return std::string(bytes.substr(0, bytes.find('\0')));
}

void note_kind(Link &link, std::string_view info) {
    (void)kernel::for_each_attribute(info, [&](int type, std::string_view value) {
        if (type == IFLA_INFO_KIND)
            link.kind = text_of(value);
        if (type == IFLA_INFO_DATA)
            link.kind_data = value;
        if (type == IFLA_INFO_SLAVE_DATA)
            link.port_data = value;
    });
}

void note_names(Link &link, std::string_view list) {
    (void)kernel::for_each_attribute(list, [&](int type, std::string_view value) {
        if (type == IFLA_ALT_IFNAME)
            link.other_names.push_back(text_of(value));
    });
}

void note_families(Link &link, std::string_view families) {
    (void)kernel::for_each_attribute(families, [&](int family, std::string_view values) {
        if (family == AF_INET6)
            (void)kernel::for_each_attribute(values, [&](int type, std::string_view value) {
                if (type == IFLA_INET6_ADDR_GEN_MODE)
                    link.address_mode = kernel::value_of<uint8_t>(value);
            });
    });
}

void note(Link &link, int type, std::string_view value) {
    const auto number = [&] { return kernel::value_of<uint32_t>(value); };
    switch (type) {
    case IFLA_IFNAME:
        link.name = text_of(value);
        break;
    case IFLA_IFALIAS:
        link.alias = text_of(value);
        break;
    case IFLA_ADDRESS:
        link.address = value;
        break;
    case IFLA_MTU:
        link.mtu = number();
        break;
    case IFLA_TXQLEN:
        link.queue_length = number();
        break;
    case IFLA_GROUP:
        link.group = number();
        break;
    case IFLA_MASTER:
        link.master = number();
        break;
    case IFLA_LINK:
        link.below = number();
        break;
    case IFLA_LINK_NETNSID:
        link.below_ns = kernel::value_of<int32_t>(value);
        break;
    case IFLA_LINKINFO:
        note_kind(link, value);
        break;
    case IFLA_PROP_LIST:
        note_names(link, value);
        break;
    case IFLA_AF_SPEC:
        note_families(link, value);
        break;
    default:
        break;
    }
}

struct KnownKind {
    std::string_view name;
    img::nd_type type = img::EXTLINK; ///< for kinds that CRIU has no number for
};

// Whatever is said in the attributes of such a device can be said again when it is made. Not among them: devices whose
// state is elsewhere (wireguard: keys, by generic netlink; team: a daemon), and those that refuse what they report
// (bond: delays of monitoring that is off).
constexpr KnownKind kKnown[] = {
    {"veth", img::VETH},
    {"bridge", img::BRIDGE},
    {"macvlan", img::MACVLAN},
    {"sit", img::SIT},
    {"macvtap"},
    {"ipvlan"},
    {"ipvtap"},
    {"dummy"},
    {"ifb"},
    {"vlan"},
    {"vxlan"},
    {"geneve"},
    {"gre"},
    {"gretap"},
    {"ip6gre"},
    {"ip6gretap"},
    {"ipip"},
    {"ip6tnl"},
    {"vti"},
    {"vti6"},
    {"vrf"},
};

/// The hardware address of an IP tunnel is its local end, that of an ipvlan its device's: not to be set.
bool has_address_of_its_own(const Link &link) {
    return link.head.ifi_type == ARPHRD_ETHER && link.kind != "ipvlan" && link.kind != "ipvtap";
}

void describe_extras(const Link &link, img::ext_net_device &ext) {
    ext.set_queue_length(link.queue_length);
    if (link.group)
        ext.set_group(link.group);
    if (!link.alias.empty())
        ext.set_alias(link.alias);
    if (!link.kind_data.empty())
        ext.set_kind_data(link.kind_data);
    if (!link.port_data.empty())
        ext.set_port_data(link.port_data);
    for (const std::string &name : link.other_names)
        ext.add_other_names(name);
    if (link.address_mode)
        ext.set_address_mode(*link.address_mode);
    if (link.below && !link.below_ns && link.below != link.index())
        ext.set_link_ifindex(link.below);
}

img::macvlan_link_entry describe_macvlan(const Link &link) {
    img::macvlan_link_entry entry;
    entry.set_mode(MACVLAN_MODE_VEPA); // the kernel's default
    (void)kernel::for_each_attribute(link.kind_data, [&](int type, std::string_view value) {
        if (type == IFLA_MACVLAN_MODE)
            entry.set_mode(kernel::value_of<uint32_t>(value));
        if (type == IFLA_MACVLAN_FLAGS)
            entry.set_flags(kernel::value_of<uint16_t>(value));
    });
    return entry;
}

void append_peer(kernel::Request &request, const img::net_device_entry &peer, std::optional<int> into) {
    const size_t info = request.begin_nested(VETH_INFO_PEER);
    ifinfomsg body{};
    body.ifi_index = static_cast<int>(peer.ifindex());
    request.append(&body, sizeof body);
    if (!peer.name().empty())
        request.attribute_text(IFLA_IFNAME, peer.name());
    if (peer.mtu())
        request.attribute(IFLA_MTU, peer.mtu());
    if (!peer.address().empty())
        request.attribute_bytes(IFLA_ADDRESS, peer.address());
    if (into)
        request.attribute(IFLA_NET_NS_FD, static_cast<uint32_t>(*into));
    request.end_nested(info);
}

/// Two attributes are not taken as they are reported.
void append_of_vxlan(kernel::Request &request, int type, std::string_view value) {
    constexpr int kReservedBits = 33; // IFLA_VXLAN_RESERVED_BITS, Linux 6.14: the default that it reports is refused
    if (type == IFLA_VXLAN_TTL_INHERIT) { // a number there, a flag here: with any value it would be on
        if (kernel::value_of<uint8_t>(value))
            request.attribute_bytes(type, {});
    } else if (type != kReservedBits)
        request.attribute_bytes(type, value);
}

/// CRIU keeps what it knows of a kind in fields of their own.
void append_kind_data(kernel::Request &request, const img::net_device_entry &device) {
    if (device.type() == img::BRIDGE)
        return; // set one by one: see links.cc
    if (device.ext().has_kind_data())
        (void)kernel::for_each_attribute(device.ext().kind_data(), [&](int type, std::string_view value) {
            if (kind_of(device) == "vxlan")
                append_of_vxlan(request, type, value);
            else
                request.attribute_bytes(type, value);
        });
    else if (device.has_macvlan()) {
        request.attribute(IFLA_MACVLAN_MODE, device.macvlan().mode());
        const auto flags = static_cast<uint16_t>(device.macvlan().flags());
        request.attribute_bytes(IFLA_MACVLAN_FLAGS, {reinterpret_cast<const char *>(&flags), sizeof flags});
    }
}

} // namespace

bool Link::is_loopback() const {
    return head.ifi_type == ARPHRD_LOOPBACK;
}

bool is_known_kind(std::string_view kind) {
    return std::ranges::find(kKnown, kind, &KnownKind::name) != std::end(kKnown);
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

img::net_device_entry describe(const Link &link) {
    img::net_device_entry device;
    const auto known = std::ranges::find(kKnown, link.kind, &KnownKind::name);
    device.set_type(link.is_loopback() ? img::LOOPBACK : known == std::end(kKnown) ? img::EXTLINK : known->type);
    device.set_ifindex(link.index());
    device.set_mtu(link.mtu);
    device.set_flags(link.head.ifi_flags);
    device.set_name(link.name);
    if (device.type() == img::LOOPBACK)
        return device;
    if (has_address_of_its_own(link))
        device.set_address(link.address);
    if (link.master)
        device.set_master(link.master);
    device.set_peer_ifindex(link.below ? link.below : link.index());
    if (device.type() == img::MACVLAN)
        *device.mutable_macvlan() = describe_macvlan(link);
    if (device.type() == img::EXTLINK && known != std::end(kKnown))
        device.mutable_ext()->set_kind(link.kind);
    describe_extras(link, *device.mutable_ext());
    return device;
}

std::string kind_of(const img::net_device_entry &device) {
    if (device.type() == img::EXTLINK)
        return device.ext().kind();
    const auto known = std::ranges::find(kKnown, device.type(), &KnownKind::type);
    return known == std::end(kKnown) ? std::string() : std::string(known->name);
}

Result<void> check_device(const img::net_device_entry &device) {
    constexpr size_t kMost = 16384;        // an attribute has 16 bits for its length
    constexpr size_t kLongestAddress = 32; // MAX_ADDR_LEN of the kernel
    const std::string &name = device.name();
    if (name.empty() || name.size() >= IFNAMSIZ || name.find('/') != std::string::npos || name == "." || name == "..")
        return base::bad_image(fmt::format("a link of the impossible name {}", name));
    const auto &ext = device.ext();
    if (device.address().size() > kLongestAddress || ext.kind_data().size() > kMost || ext.port_data().size() > kMost ||
        ext.alias().size() > kMost || ext.kind().size() > kMost ||
        std::ranges::any_of(ext.other_names(), [](const std::string &other) { return other.size() > kMost; }))
        return base::bad_image(fmt::format("link {}: an attribute of an impossible length", name));
    if (!ext.kind().empty() && !is_known_kind(ext.kind()))
        return base::unsupported(fmt::format("link {}: links of the kind {} are not restored", name, ext.kind()));
    return {};
}

kernel::Request about_link(int type, int flags, uint32_t index) {
    kernel::Request request(type, flags);
    ifinfomsg body{};
    body.ifi_index = static_cast<int>(index);
    request.append(&body, sizeof body);
    return request;
}

kernel::Request change_of(uint32_t index, uint32_t flags, uint32_t mask) {
    kernel::Request request(RTM_SETLINK);
    ifinfomsg body{};
    body.ifi_index = static_cast<int>(index);
    body.ifi_flags = flags;
    body.ifi_change = mask;
    request.append(&body, sizeof body);
    return request;
}

kernel::Request creation(const img::net_device_entry &device, const img::net_device_entry *peer,
                         std::optional<uint32_t> from, std::optional<int> into, std::optional<int> peer_into) {
    kernel::Request request = about_link(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, device.ifindex());
    request.attribute_text(IFLA_IFNAME, device.name());
    if (into)
        request.attribute(IFLA_NET_NS_FD, static_cast<uint32_t>(*into));
    if (device.mtu())
        request.attribute(IFLA_MTU, device.mtu());
    if (!device.address().empty())
        request.attribute_bytes(IFLA_ADDRESS, device.address());
    if (from || device.ext().has_link_ifindex())
        request.attribute(IFLA_LINK, from ? *from : device.ext().link_ifindex());
    else if (device.type() == img::MACVLAN)
        request.attribute(IFLA_LINK, device.peer_ifindex());
    if (device.ext().has_queue_length())
        request.attribute(IFLA_TXQLEN, device.ext().queue_length());
    const size_t info = request.begin_nested(IFLA_LINKINFO);
    request.attribute_text(IFLA_INFO_KIND, kind_of(device));
    const size_t data = request.begin_nested(IFLA_INFO_DATA);
    if (peer)
        append_peer(request, *peer, peer_into);
    else
        append_kind_data(request, device);
    request.end_nested(data);
    request.end_nested(info);
    return request;
}

} // namespace resource::net
