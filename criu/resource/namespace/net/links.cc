// Links of a network namespace: what is asked of the kernel at the dump, and the order in which they come back.
//
//     made       what lies upon another device waits for that one; a veth brings its other end along
//     set up     settings, names, the bridge that it is a port of, what that knows of it; then all go up, again the
//                lower ones first
//     finished   behind the addresses: until then the kernel makes none of its own (IPv6 would find them duplicates)
//
// Links whose other end is not in the tree are brought by the coordinator before (given_links.cc), those of CRIU's type
// EXTLINK by the caller's hook: such a link is there already and is only set up.
#include "criu/resource/namespace/net/disciplines.hh"
#include "criu/resource/namespace/net/link.hh"
#include "criu/resource/namespace/net/net.hh"
#include "criu/resource/namespace/net/peers.hh"

#include <algorithm>
#include <cerrno>
#include <fmt/format.h>
#include <linux/if_link.h>
#include <map>
#include <net/if.h>
#include <set>
#include <sys/socket.h>

namespace resource::net {
namespace {

using Device = img::net_device_entry;

/// Made by the kernel in every namespace as soon as its module is there ("sit0", "tunl0"), down and without use.
bool is_fallback(const Link &link) {
    constexpr std::string_view kNames[] = {"sit0",    "tunl0",    "gre0",    "gretap0", "erspan0",
                                           "ip_vti0", "ip6_vti0", "ip6tnl0", "ip6gre0"};
    return !(link.head.ifi_flags & IFF_UP) && std::ranges::find(kNames, link.name) != std::end(kNames);
}

Result<void> send(const kernel::Request &request) {
    return kernel::netlink_do(NETLINK_ROUTE, request);
}

Result<void> set_address_mode(uint32_t index, uint8_t mode) {
    kernel::Request request = change_of(index);
    const size_t families = request.begin_nested(IFLA_AF_SPEC), family = request.begin_nested(AF_INET6);
    request.attribute_bytes(IFLA_INET6_ADDR_GEN_MODE, {reinterpret_cast<const char *>(&mode), sizeof mode});
    request.end_nested(family);
    request.end_nested(families);
    auto done = send(request);
    const bool no_ipv6 = !done && (done.error().code() == EAFNOSUPPORT || done.error().code() == EINVAL ||
                                   done.error().code() == EOPNOTSUPP);
    return no_ipv6 ? Result<void>() : done;
}

/// The index of the device that has to be there before this one; 0 for none.
uint32_t needed_by(const Device &device) {
    if (device.ext().has_link_ifindex())
        return device.ext().link_ifindex();
    return device.type() == img::MACVLAN ? device.peer_ifindex() : 0;
}

/// Both ends of a veth are made at once. `id`: of the namespace that they are in.
const Device *peer_of(const Device &device, const std::map<uint32_t, const Device *> &pending, uint32_t id) {
    if (device.type() != img::VETH || (device.has_peer_nsid() && device.peer_nsid() != id))
        return nullptr;
    const auto found = pending.find(device.peer_ifindex());
    return found == pending.end() || found->second->type() != img::VETH ? nullptr : found->second;
}

Result<void> make(const NamespaceFillContext &context, const Device &device, const Device *peer) {
    if (kind_of(device).empty())
        return base::fail(
            std::move(base::unsupported(fmt::format("the link {} is not there", device.name()))
                          .error()
                          .hint(fmt::format(
                              "it comes from outside: the hook setup-namespaces has to bring it, or name the host's "
                              "device with --external netdev[{}]:DEVICE",
                              device.name()))));
    const auto far = peer ? std::nullopt : TRY(find_far_end(context, device));
    if (device.type() == img::VETH && !peer && !far)
        return base::unsupported(
            fmt::format("the other end of the link {} is in a namespace that is not restored", device.name()));
    auto made = send(far ? creation(device, &far->device, {}, {}, far->ns) : creation(device, peer));
    if (!made)
        return base::fail(
            std::move(made.error().ctx(fmt::format("make the link {} ({})", device.name(), kind_of(device)))));
    return {};
}

/// Makes what is not there, in an order that suits all.
/// Returns the devices in that order. Errors: BadImage for two that wait for each other.
Result<std::vector<const Device *>> make_all(const NamespaceFillContext &context, const std::vector<Device> &devices) {
    std::map<uint32_t, const Device *> pending;
    std::vector<const Device *> order;
    for (const Device &device : devices)
        if (!pending.emplace(device.ifindex(), &device).second)
            return base::bad_image(fmt::format("two links with the index {}", device.ifindex()));
    std::set<std::string> present;
    for (const Link &link : TRY(list_links()))
        present.insert(link.name);
    const auto settle = [&](const Device &device) {
        order.push_back(&device);
        pending.erase(device.ifindex());
    };
    for (const Device &device : devices)
        if (device.type() == img::LOOPBACK || present.contains(device.name()))
            settle(device);
    while (!pending.empty()) {
        const auto next = std::ranges::find_if(pending, [&](const auto &entry) {
            const uint32_t needed = needed_by(*entry.second);
            return entry.second->type() == img::VETH || !pending.contains(needed) || needed == entry.first;
        });
        if (next == pending.end())
            return base::bad_image("links that lie upon each other");
        const Device &device = *next->second;
        const Device *peer = peer_of(device, pending, context.id);
        TRY(make(context, device, peer));
        settle(device);
        if (peer && peer != &device)
            settle(*peer);
    }
    return order;
}

Result<void> name_otherwise(const Device &device) {
    if (!device.ext().other_names_size())
        return {};
    kernel::Request request = about_link(RTM_NEWLINKPROP, NLM_F_CREATE | NLM_F_EXCL | NLM_F_APPEND, device.ifindex());
    const size_t list = request.begin_nested(IFLA_PROP_LIST | NLA_F_NESTED);
    for (const std::string &name : device.ext().other_names())
        request.attribute_text(IFLA_ALT_IFNAME, name);
    request.end_nested(list);
    return send(request);
}

/// What a bridge reports and nobody can set: state of the spanning tree, timers, what it has learned.
bool is_only_reported(int attribute) {
    constexpr int kLearned = 48; // IFLA_BR_FDB_N_LEARNED, Linux 6.8
    return (attribute >= IFLA_BR_ROOT_ID && attribute <= IFLA_BR_GC_TIMER) || attribute == IFLA_BR_FDB_FLUSH ||
           attribute == IFLA_BR_MCAST_QUERIER_STATE || attribute == kLearned;
}

/// The same of its ports: names of what can be set are fewer.
bool is_only_reported_of_port(int attribute) {
    constexpr int kSettable[] = {
        IFLA_BRPORT_PRIORITY, IFLA_BRPORT_COST,           IFLA_BRPORT_MODE,          IFLA_BRPORT_GUARD,
        IFLA_BRPORT_PROTECT,  IFLA_BRPORT_FAST_LEAVE,     IFLA_BRPORT_LEARNING,      IFLA_BRPORT_UNICAST_FLOOD,
        IFLA_BRPORT_PROXYARP, IFLA_BRPORT_PROXYARP_WIFI,  IFLA_BRPORT_MCAST_FLOOD,   IFLA_BRPORT_MULTICAST_ROUTER,
        IFLA_BRPORT_ISOLATED, IFLA_BRPORT_MCAST_TO_UCAST, IFLA_BRPORT_VLAN_TUNNEL,   IFLA_BRPORT_BCAST_FLOOD,
        IFLA_BRPORT_LOCKED,   IFLA_BRPORT_GROUP_FWD_MASK, IFLA_BRPORT_NEIGH_SUPPRESS};
    return std::ranges::find(kSettable, attribute) == std::end(kSettable);
}

/// Settings of a bridge, or of its port: where in a message they stand.
struct Settings {
    int kind, data; ///< IFLA_INFO_...
    bool (*is_only_reported)(int);
    const std::string &wanted, &fresh; ///< attributes
};

Result<void> set_one(uint32_t index, const Settings &settings, int attribute, std::string_view value) {
    kernel::Request request = about_link(RTM_NEWLINK, 0, index);
    const size_t info = request.begin_nested(IFLA_LINKINFO);
    request.attribute_text(settings.kind, "bridge");
    const size_t data = request.begin_nested(settings.data);
    request.attribute_bytes(attribute, value);
    request.end_nested(data);
    request.end_nested(info);
    return send(request);
}

/// One by one, and only what differs from a fresh one: kernels report settings that they were built without.
Result<void> set_differences(const Device &device, const Settings &settings, base::Log &log) {
    std::map<int, std::string> fresh;
    TRY(kernel::for_each_attribute(settings.fresh, [&](int type, std::string_view value) { fresh[type] = value; }));
    return kernel::for_each_attribute(settings.wanted, [&](int type, std::string_view value) {
        if (settings.is_only_reported(type) || fresh[type] == value)
            return;
        if (auto set = set_one(device.ifindex(), settings, type, value); !set)
            log.warn(fmt::format("network: link {}: its setting {} as a bridge or a port of one (<linux/if_link.h>) "
                                 "could not be restored: {}",
                                 device.name(), type, set.error().message()));
    });
}

/// Of a bridge that is there, and of a port that has its master. `now`: as the kernel lists it.
Result<void> set_bridging(const Device &device, bool is_port, const Link &now, base::Log &log) {
    if (device.type() == img::BRIDGE)
        TRY(set_differences(
            device, {IFLA_INFO_KIND, IFLA_INFO_DATA, is_only_reported, device.ext().kind_data(), now.kind_data}, log));
    if (is_port)
        TRY(set_differences(device,
                            {IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA, is_only_reported_of_port,
                             device.ext().port_data(), now.port_data},
                            log));
    return {};
}

Result<uint32_t> index_of(const Device &device) {
    const uint32_t index = device.type() == img::LOOPBACK ? 1 : if_nametoindex(device.name().c_str());
    return index ? Result<uint32_t>(index) : base::fail_sys("find it");
}

/// Everything but that it goes up, and what bridges know.
Result<void> set_up(const Device &device, base::Log &log) {
    const uint32_t index = TRY(index_of(device));
    TRY(write_link_settings(device, log));
    if (device.type() != img::LOOPBACK)
        TRY(set_address_mode(index, IN6_ADDR_GEN_MODE_NONE));
    kernel::Request request = change_of(index);
    if (device.mtu())
        request.attribute(IFLA_MTU, device.mtu());
    if (device.has_master())
        request.attribute(IFLA_MASTER, device.master());
    if (device.ext().has_group())
        request.attribute(IFLA_GROUP, device.ext().group());
    if (device.ext().has_alias())
        request.attribute_text(IFLA_IFALIAS, device.ext().alias());
    TRY(send(request));
    return name_otherwise(device);
}

Result<void> go_up(const Device &device) {
    constexpr uint32_t kSettable = IFF_UP | IFF_PROMISC | IFF_ALLMULTI | IFF_NOARP | IFF_MULTICAST;
    return send(change_of(TRY(index_of(device)), device.flags() & kSettable, kSettable));
}

Result<std::vector<Device>> read_devices(NamespaceFillContext &context) {
    auto devices = TRY(context.images.read<Device>(image::ImageKind::Netdev, context.id));
    std::erase_if(devices,
                  [](const Device &device) { return device.type() == img::TUN; }); // they come with their files
    for (const Device &device : devices)
        TRY(check_device(device));
    return devices;
}

} // namespace

Result<void> check_links(const tree::Namespaces &namespaces, bool nested) {
    const auto known = TRY(known_namespaces(namespaces));
    for (const Link &link : TRY(list_links())) {
        TRY(check_disciplines(link.index(), link.name));
        const bool leads_out = link.below_ns && !known.contains(*link.below_ns);
        if (leads_out && nested)
            return base::unsupported(fmt::format("its link {} ({}) leads to a network namespace outside of the tree, "
                                                 "which only those of the root's can",
                                                 link.name, link.kind));
        if (link.below_ns && !leads_out && link.kind != "veth")
            return base::unsupported(fmt::format("its link {} ({}) lies upon a device of another network namespace of "
                                                 "the tree",
                                                 link.name, link.kind));
        if (!link.is_loopback() && !is_fallback(link) && link.kind != "tun" && !is_known_kind(link.kind))
            return base::unsupported(fmt::format("its link {} ({}) cannot be made again", link.name,
                                                 link.kind.empty() ? "of the hardware's" : link.kind));
    }
    return {};
}

Result<void> dump_links(NamespaceDumpContext &context, uint32_t id) {
    const auto neighbours = TRY(Neighbours::list());
    const auto known = TRY(known_namespaces(context.namespaces));
    for (const Link &link : TRY(list_links())) {
        if (is_fallback(link) || link.kind == "tun")
            continue;
        Device device = describe(link);
        // Without it is outside, and the caller says where at the restore.
        if (device.type() != img::LOOPBACK && !link.below_ns)
            device.set_peer_nsid(id);
        else if (link.below_ns && known.contains(*link.below_ns))
            device.set_peer_nsid(known.at(*link.below_ns));
        TRY(read_link_settings(link.name, device));
        TRY(describe_disciplines(link.index(), *device.mutable_ext()));
        if (device.type() != img::LOOPBACK)
            describe_neighbours(neighbours, link, *device.mutable_ext());
        TRY(context.images.add(image::ImageKind::Netdev, id, device));
    }
    return {};
}

Result<void> fill_links(NamespaceFillContext &context) {
    const auto devices = TRY(read_devices(context));
    std::set<uint32_t> bridges;
    for (const Device &device : devices)
        if (device.type() == img::BRIDGE)
            bridges.insert(device.ifindex());
    const auto order = TRY(make_all(context, devices));
    const auto each = [&](auto &&step) -> Result<void> {
        for (const Device *device : order)
            TRY_CTX(step(*device), fmt::format("set up the link {}", device->name()));
        return {};
    };
    TRY(each([&](const Device &device) { return set_up(device, context.log); }));
    std::map<std::string, Link> now;
    for (Link &link : TRY(list_links()))
        now[link.name] = std::move(link);
    TRY(each([&](const Device &device) {
        const bool is_port = device.has_master() && bridges.contains(device.master());
        return set_bridging(device, is_port, now[device.name()], context.log);
    }));
    TRY(each(go_up));
    return each(
        [](const Device &device) -> Result<void> { return fill_disciplines(TRY(index_of(device)), device.ext()); });
}

Result<void> finish_links(NamespaceFillContext &context) {
    for (const Device &device : TRY(read_devices(context))) {
        if (device.type() == img::LOOPBACK)
            continue;
        TRY_CTX(fill_neighbours(device), fmt::format("link {}", device.name()));
        TRY_CTX(
            set_address_mode(if_nametoindex(device.name().c_str()), static_cast<uint8_t>(device.ext().address_mode())),
            fmt::format("link {}", device.name()));
    }
    return {};
}

} // namespace resource::net
