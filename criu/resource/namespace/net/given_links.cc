#include "criu/resource/namespace/net/given_links.hh"

#include "criu/kernel/namespaces.hh"
#include "criu/resource/namespace/net/link.hh"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_link.h>
#include <memory>
#include <net/if.h>
#include <sys/socket.h>

namespace resource::net {
namespace {

using Device = img::net_device_entry;

const GivenLink *find(const NamespaceOptions &options, const std::string &inside, GivenLink::Way way) {
    const auto found = std::ranges::find_if(
        options.links, [&](const GivenLink &link) { return link.inside == inside && link.way == way; });
    return found == options.links.end() ? nullptr : &*found;
}

Result<uint32_t> index_of(const std::string &name) {
    const uint32_t index = if_nametoindex(name.c_str());
    if (!index)
        return base::fail_sys(fmt::format("find the device {}", name));
    return index;
}

/// What moves a device to another namespace, under a name there.
kernel::Request move(uint32_t index, const std::string &name, int into) {
    kernel::Request request = change_of(index);
    request.attribute_text(IFLA_IFNAME, name);
    request.attribute(IFLA_NET_NS_FD, static_cast<uint32_t>(into));
    return request;
}

/// A device that goes with its namespace would end with it: it is the caller's, and goes home first.
Result<void> note_home(NamespaceBringContext &context, const std::string &inside, const std::string &outside) {
    const auto keep = [](int fd) { return std::make_shared<base::UniqueFd>(fcntl(fd, F_DUPFD_CLOEXEC, 0)); };
    const base::UniqueFd own(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    const auto home = keep(own.get()), away = keep(context.fd);
    if (!*home || !*away)
        return base::fail_sys("open the network namespace");
    context.journal.note([=] {
        (void)kernel::inside(std::array{away->get()}, [&]() -> Result<void> {
            return kernel::netlink_do(NETLINK_ROUTE, move(TRY(index_of(inside)), outside, home->get()));
        });
    });
    return {};
}

Result<void> move_in(NamespaceBringContext &context, const Device &device, const std::string &host) {
    kernel::Request request = move(TRY(index_of(host)), device.name(), context.fd);
    request.attribute(IFLA_NEW_IFINDEX, device.ifindex());
    if (device.mtu())
        request.attribute(IFLA_MTU, device.mtu());
    if (!device.address().empty())
        request.attribute_bytes(IFLA_ADDRESS, device.address());
    TRY(note_home(context, device.name(), host));
    return kernel::netlink_do(NETLINK_ROUTE, request);
}

Result<void> make_port(const std::string &name, const std::string &bridge) {
    kernel::Request request = change_of(TRY(index_of(name)), IFF_UP, IFF_UP);
    request.attribute(IFLA_MASTER, TRY(index_of(bridge)));
    return kernel::netlink_do(NETLINK_ROUTE, request);
}

/// `where`: NAME or NAME@BRIDGE; empty: the kernel finds a name.
Result<void> make_pair(NamespaceBringContext &context, const Device &device, const std::string &where) {
    const size_t at = where.find('@');
    Device outer;
    outer.set_name(where.substr(0, at));
    outer.set_mtu(device.mtu());
    auto made = kernel::netlink_do(NETLINK_ROUTE, creation(device, &outer, {}, context.fd));
    if (!made && made.error().code() == EEXIST)
        return base::fail(std::move(made.error().hint(
            fmt::format("a device {} exists: give --external veth[{}] another name", outer.name(), device.name()))));
    TRY(made);
    if (at != std::string::npos)
        TRY_CTX(make_port(outer.name(), where.substr(at + 1)), where);
    return {};
}

bool is_inside(const Device &device) {
    return device.has_peer_nsid() || device.type() == img::LOOPBACK || device.type() == img::TUN ||
           device.type() == img::BRIDGE;
}

Result<void> bring(NamespaceBringContext &context, const Device &device) {
    if (const GivenLink *given = find(context.options, device.name(), GivenLink::Way::Move))
        return move_in(context, device, given->outside);
    if (is_inside(device))
        return {};
    const GivenLink *pair = find(context.options, device.name(), GivenLink::Way::Pair);
    if (device.type() == img::VETH) {
        if (!pair)
            context.log.warn(fmt::format("network: the other end of {} gets a name of the kernel's and stays down; "
                                         "--external veth[{}]:NAME or NAME@BRIDGE chooses",
                                         device.name(), device.name()));
        return make_pair(context, device, pair ? pair->outside : std::string());
    }
    const std::string kind = kind_of(device);
    if (device.peer_ifindex() == device.ifindex() || kind.empty())
        return {}; // lies upon nothing, or is the hook's
    if (const GivenLink *above = find(context.options, device.name(), GivenLink::Way::Above))
        return kernel::netlink_do(NETLINK_ROUTE, creation(device, nullptr, TRY(index_of(above->outside)), context.fd));
    return base::fail(
        std::move(base::unsupported(fmt::format("it lies upon a device outside of the tree ({})", kind))
                      .error()
                      .hint(fmt::format("name the host's device with --external macvlan[{}]:DEVICE", device.name()))));
}

} // namespace

Result<void> bring_links(NamespaceBringContext &context) {
    for (const Device &device : TRY(context.images.read<Device>(image::ImageKind::Netdev, context.id))) {
        TRY(check_device(device));
        TRY_CTX(bring(context, device), fmt::format("link {}", device.name()));
    }
    return {};
}

} // namespace resource::net
