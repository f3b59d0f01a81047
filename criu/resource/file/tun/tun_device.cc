#include "criu/kernel/netlink.hh"
#include "criu/resource/file/tun/tun.hh"

#include <fmt/format.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

extern "C" unsigned if_nametoindex(const char *) noexcept; // net/if.h and linux/if.h exclude each other

namespace resource {
namespace {

constexpr uint32_t kSettable = IFF_UP | IFF_NOARP | IFF_MULTICAST | IFF_PROMISC | IFF_ALLMULTI;

Result<int> get(int queue, unsigned long question, const char *what) {
    int value = 0;
    if (ioctl(queue, question, &value) < 0)
        return base::fail_sys(what);
    return value;
}

Result<void> set(int queue, unsigned long command, int value, const char *what) {
    if (ioctl(queue, command, &value) < 0)
        return base::fail_sys(what);
    return {};
}

Result<void> set_by_value(int queue, unsigned long command, uint64_t value, const char *what) {
    if (ioctl(queue, command, value) < 0)
        return base::fail_sys(what);
    return {};
}

// ---- dump ----------------------------------------------------------------------------------------------------------

/// IFLA_LINKINFO of a tun device: who may use it.
void note_owner(std::string_view info, img::tun_link_entry *tun) {
    (void)kernel::for_each_attribute(info, [&](int kind, std::string_view data) {
        if (kind != IFLA_INFO_DATA)
            return;
        (void)kernel::for_each_attribute(data, [&](int type, std::string_view value) {
            if (type == IFLA_TUN_OWNER)
                tun->set_owner(kernel::value_of<int32_t>(value));
            if (type == IFLA_TUN_GROUP)
                tun->set_group(kernel::value_of<int32_t>(value));
        });
    });
}

void note_attribute(int type, std::string_view value, img::net_device_entry &device) {
    switch (type) {
    case IFLA_MTU:
        return device.set_mtu(kernel::value_of<uint32_t>(value));
    case IFLA_ADDRESS:
        return device.set_address(std::string(value));
    case IFLA_TXQLEN:
        return device.mutable_ext()->set_queue_length(kernel::value_of<uint32_t>(value));
    case IFLA_IFALIAS:
        return device.mutable_ext()->set_alias(std::string(value.substr(0, value.find('\0'))));
    case IFLA_LINKINFO:
        return note_owner(value, device.mutable_tun());
    default:
        return;
    }
}

Result<void> describe_link(uint32_t index, img::net_device_entry &device) {
    struct {
        nlmsghdr head{};
        ifinfomsg body{};
    } question;
    return kernel::netlink_dump(
        NETLINK_ROUTE, RTM_GETLINK, &question, sizeof question, [&](std::string_view message) -> Result<void> {
            const auto link = kernel::value_of<ifinfomsg>(message);
            if (static_cast<uint32_t>(link.ifi_index) != index || message.size() < sizeof link)
                return {};
            device.set_flags(link.ifi_flags);
            device.mutable_ext()->set_link_type(link.ifi_type);
            return kernel::for_each_attribute(message.substr(sizeof link), [&](int type, std::string_view value) {
                note_attribute(type, value, device);
            });
        });
}

/// TUNGETVNETLE and its twin are missing in kernels without CONFIG_TUN_VNET_CROSS_LE.
bool is_on(int queue, unsigned long question) {
    int value = 0;
    return ioctl(queue, question, &value) == 0 && value;
}

} // namespace

uint32_t device_index(const std::string &name) {
    return if_nametoindex(name.c_str());
}

Result<img::net_device_entry> describe_tun_device(base::Log &log, int queue, const std::string &name) {
    const uint32_t index = device_index(name);
    if (!index)
        return base::unsupported(fmt::format("the device {} is not in the network namespace of the tree", name));
    ifreq request{};
    if (ioctl(queue, TUNGETIFF, &request) < 0)
        return base::fail_sys("TUNGETIFF");
    img::net_device_entry device;
    device.set_type(img::TUN);
    device.set_ifindex(index);
    device.set_name(name);
    device.set_mtu(0);
    device.set_flags(0);
    img::tun_link_entry *tun = device.mutable_tun();
    tun->set_owner(-1);
    tun->set_group(-1);
    tun->set_flags(static_cast<uint16_t>(request.ifr_flags));
    tun->set_vnethdr(static_cast<uint32_t>(TRY(get(queue, TUNGETVNETHDRSZ, "TUNGETVNETHDRSZ"))));
    tun->set_sndbuf(static_cast<uint32_t>(TRY(get(queue, TUNGETSNDBUF, "TUNGETSNDBUF"))));
    TRY(describe_link(index, device));
    img::ext_net_device *ext = device.mutable_ext();
    ext->set_features(TRY(tun_offloads(name)));
    ext->set_little(is_on(queue, TUNGETVNETLE));
    ext->set_big(is_on(queue, TUNGETVNETBE));
    TRY(dump_addresses_and_routes(log, index, ext));
    return device;
}

// ---- restore -------------------------------------------------------------------------------------------------------

namespace {

void append_attribute(kernel::Request &request, int type, const std::string &value) {
    const nlattr head{static_cast<uint16_t>(sizeof head + value.size()), static_cast<uint16_t>(type)};
    request.append(&head, sizeof head);
    request.append(value.data(), value.size());
}

Result<void> set_link(uint32_t index, const img::net_device_entry &device) {
    kernel::Request request(RTM_SETLINK);
    ifinfomsg body{};
    body.ifi_index = static_cast<int>(index);
    body.ifi_flags = device.flags() & kSettable;
    body.ifi_change = kSettable;
    request.append(&body, sizeof body);
    if (device.ext().link_type() == 1 && !device.address().empty()) // ARPHRD_ETHER: others have no address to set
        append_attribute(request, IFLA_ADDRESS, device.address());
    if (device.mtu())
        request.attribute(IFLA_MTU, device.mtu());
    if (device.ext().has_queue_length())
        request.attribute(IFLA_TXQLEN, device.ext().queue_length());
    if (!device.ext().alias().empty())
        append_attribute(request, IFLA_IFALIAS, device.ext().alias());
    TRY_CTX(kernel::netlink_do(NETLINK_ROUTE, request), fmt::format("set up the device {}", device.name()));
    return {};
}

Result<void> set_queue_options(int queue, const img::net_device_entry &device) {
    const img::tun_link_entry &tun = device.tun();
    if (tun.owner() != -1)
        TRY(set_by_value(queue, TUNSETOWNER, static_cast<uint32_t>(tun.owner()), "TUNSETOWNER"));
    if (tun.group() != -1)
        TRY(set_by_value(queue, TUNSETGROUP, static_cast<uint32_t>(tun.group()), "TUNSETGROUP"));
    if (device.ext().has_link_type())
        TRY(set_by_value(queue, TUNSETLINK, device.ext().link_type(), "TUNSETLINK"));
    if (device.ext().little())
        TRY(set(queue, TUNSETVNETLE, 1, "TUNSETVNETLE"));
    if (device.ext().big())
        TRY(set(queue, TUNSETVNETBE, 1, "TUNSETVNETBE"));
    TRY(set(queue, TUNSETVNETHDRSZ, static_cast<int>(tun.vnethdr()), "TUNSETVNETHDRSZ"));
    TRY(set(queue, TUNSETSNDBUF, static_cast<int>(tun.sndbuf()), "TUNSETSNDBUF"));
    return set_by_value(queue, TUNSETOFFLOAD, device.ext().features(), "TUNSETOFFLOAD");
}

} // namespace

Result<void> set_up_tun_device(base::Log &log, int queue, const img::net_device_entry &device) {
    const uint32_t index = device_index(device.name());
    if (index != device.ifindex())
        log.warn(fmt::format("the device {} has the index {} now, {} at the checkpoint: that is taken", device.name(),
                             index, device.ifindex()));
    TRY(set_queue_options(queue, device));
    TRY(set_link(index, device));
    return restore_addresses_and_routes(index, device.ext());
}

} // namespace resource
