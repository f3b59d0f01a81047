// One link (network device) of a network namespace, as the kernel lists it, and the message that makes it anew.
#pragma once

#include "criu/kernel/netlink.hh"
#include "netdev.pb.h"

#include <linux/rtnetlink.h>
#include <optional>
#include <vector>

namespace resource::net {

using base::Result;

struct Link {
    ifinfomsg head{};
    std::string name, kind, alias;
    std::string kind_data; ///< IFLA_INFO_DATA
    std::string port_data; ///< IFLA_INFO_SLAVE_DATA
    std::string address;   ///< hardware address
    std::vector<std::string> other_names;
    uint32_t mtu = 0, queue_length = 0, group = 0;
    uint32_t master = 0;                 ///< index of the bridge or bond that it is a port of; 0 for none
    uint32_t below = 0;                  ///< index of the device that it lies upon, or of its other end; 0 for none
    std::optional<int32_t> below_ns;     ///< number of the namespace in which that one is, where it is another
    std::optional<uint8_t> address_mode; ///< how the kernel makes IPv6 addresses for it

    uint32_t index() const { return static_cast<uint32_t>(head.ifi_index); }
    bool is_loopback() const;
};

/// The links of the calling thread's network namespace.
Result<std::vector<Link>> list_links();

/// Links of this kind can be made again from what the kernel says of them.
bool is_known_kind(std::string_view kind);

img::net_device_entry describe(const Link &link);

/// Entries of neighbours and of forwarding, of all links, as the kernel's own messages.
struct Neighbours {
    std::vector<std::string> neighbours, forwarding;
    static Result<Neighbours> list();
};
/// Those of one link that are not the kernel's own.
void describe_neighbours(const Neighbours &all, const Link &link, img::ext_net_device &ext);
/// Errors: System.
Result<void> fill_neighbours(const img::net_device_entry &device);

/// The kind that an image's entry has, as the kernel calls it; empty for one that somebody else has to bring.
std::string kind_of(const img::net_device_entry &device);

/// Whether an image's entry can be one of a link. Errors: BadImage; Unsupported for a kind that is not made again.
Result<void> check_device(const img::net_device_entry &device);

/// The beginning of a message about a link: RTM_NEWLINK and its kin.
kernel::Request about_link(int type, int flags, uint32_t index);
/// One that changes a link that exists: those of `flags` (IFF_) that are in `mask`.
kernel::Request change_of(uint32_t index, uint32_t flags = 0, uint32_t mask = 0);

/// What a message about links says of a new one: its name, index, kind and whatever has to be said at its birth.
/// `peer`: of a veth, what its other end is to be; `from`: index of the device below, where that is not the image's.
/// `into`, `peer_into`: descriptors of the namespaces that they are to be in, where these are not the caller's.
kernel::Request creation(const img::net_device_entry &device, const img::net_device_entry *peer,
                         std::optional<uint32_t> from = {}, std::optional<int> into = {},
                         std::optional<int> peer_into = {});

} // namespace resource::net
