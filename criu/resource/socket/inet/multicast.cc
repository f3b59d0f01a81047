#include "criu/resource/socket/inet/multicast.hh"

#include "criu/kernel/io.hh"

#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace resource {
namespace {

constexpr uint32_t kMaxSources = 64;

struct Filter {
    group_filter head{};
    sockaddr_storage more[kMaxSources]{}; // behind head.gf_slist[0]
};

sockaddr_storage to_storage(bool v6, const void *address) {
    sockaddr_storage storage{};
    storage.ss_family = v6 ? AF_INET6 : AF_INET;
    if (v6)
        memcpy(&reinterpret_cast<sockaddr_in6 &>(storage).sin6_addr, address, 16);
    else
        memcpy(&reinterpret_cast<sockaddr_in &>(storage).sin_addr, address, 4);
    return storage;
}

std::string address_of(bool v6, const sockaddr_storage &storage) {
    if (v6)
        return {reinterpret_cast<const char *>(&reinterpret_cast<const sockaddr_in6 &>(storage).sin6_addr), 16};
    return {reinterpret_cast<const char *>(&reinterpret_cast<const sockaddr_in &>(storage).sin_addr), 4};
}

/// Every interface is in these groups by itself.
bool is_everybodys(bool v6, const parse::MulticastGroup &group) {
    if (group.users > 1)
        return false;
    if (!v6) {
        constexpr uint8_t kAllHosts[4] = {224, 0, 0, 1};
        return memcmp(group.address.data(), kAllHosts, sizeof kAllHosts) == 0;
    }
    constexpr std::array<uint8_t, 14> kZero{};
    const bool all_nodes = memcmp(group.address.data() + 2, kZero.data(), 13) == 0 && group.address[15] == 1;
    constexpr uint8_t kSolicited[13] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
    return all_nodes || memcmp(group.address.data(), kSolicited, sizeof kSolicited) == 0;
}

Result<void> dump_one(int fd, bool v6, const parse::MulticastGroup &group, img::inet_sk_entry *entry) {
    Filter filter;
    filter.head.gf_interface = group.interface;
    filter.head.gf_group = to_storage(v6, group.address.data());
    filter.head.gf_numsrc = kMaxSources;
    socklen_t length = sizeof filter;
    if (getsockopt(fd, v6 ? SOL_IPV6 : SOL_IP, MCAST_MSFILTER, &filter, &length) < 0) {
        // Not joined, or not by a socket of this family.
        if (errno == EADDRNOTAVAIL || errno == ENOPROTOOPT || errno == EINVAL || errno == ENODEV)
            return {};
        return base::fail_sys("ask for a multicast membership");
    }
    if (filter.head.gf_numsrc > kMaxSources)
        return base::unsupported(fmt::format("a multicast group with {} sources", filter.head.gf_numsrc));
    img::ext_membership *membership = entry->mutable_ext()->add_memberships();
    membership->set_level(v6 ? SOL_IPV6 : SOL_IP);
    membership->set_ifindex(group.interface);
    char name[IFNAMSIZ] = {};
    if (if_indextoname(group.interface, name))
        membership->set_ifname(name);
    membership->set_group(group.address.data(), v6 ? 16 : 4);
    membership->set_mode(filter.head.gf_fmode);
    for (uint32_t i = 0; i < filter.head.gf_numsrc; i++)
        membership->add_sources(address_of(v6, filter.head.gf_slist[i]));
    return {};
}

Result<void> restore_one(int fd, const img::ext_membership &membership) {
    const bool v6 = membership.level() == SOL_IPV6;
    const size_t bytes = v6 ? 16 : 4;
    auto good = [&](const std::string &address) { return address.size() == bytes; };
    if (!good(membership.group()) || !std::ranges::all_of(membership.sources(), good))
        return base::bad_image("a multicast membership with an impossible address");
    // Numbers of interfaces may differ where the tree is restored.
    uint32_t interface = membership.has_ifname() ? if_nametoindex(membership.ifname().c_str()) : 0;
    if (!interface)
        interface = membership.ifindex();
    const int level = v6 ? SOL_IPV6 : SOL_IP;
    group_req request{.gr_interface = interface, .gr_group = to_storage(v6, membership.group().data())};
    const bool excludes = membership.mode() == MCAST_EXCLUDE;
    if (excludes && setsockopt(fd, level, MCAST_JOIN_GROUP, &request, sizeof request) < 0)
        return base::fail_sys(fmt::format("join a multicast group on {}", membership.ifname()));
    for (const std::string &source : membership.sources()) {
        const group_source_req one{interface, request.gr_group, to_storage(v6, source.data())};
        if (setsockopt(fd, level, excludes ? MCAST_BLOCK_SOURCE : MCAST_JOIN_SOURCE_GROUP, &one, sizeof one) < 0)
            return base::fail_sys(fmt::format("set a source of a multicast group on {}", membership.ifname()));
    }
    return {};
}

} // namespace

Result<JoinedGroups> joined_groups(base::Pid task) {
    JoinedGroups groups;
    if (auto text = kernel::read_file(AT_FDCWD, fmt::format("/proc/{}/net/igmp", task.value).c_str()))
        groups.v4 = TRY(parse::parse_igmp(*text));
    if (auto text =
            kernel::read_file(AT_FDCWD, fmt::format("/proc/{}/net/igmp6", task.value).c_str())) // absent without IPv6
        groups.v6 = TRY(parse::parse_igmp6(*text));
    std::erase_if(groups.v4, [](auto &group) { return is_everybodys(false, group); });
    std::erase_if(groups.v6, [](auto &group) { return is_everybodys(true, group); });
    return groups;
}

Result<void> dump_memberships(int fd, int family, const JoinedGroups &groups, img::inet_sk_entry *entry) {
    for (const parse::MulticastGroup &group : groups.v4)
        TRY(dump_one(fd, false, group, entry));
    if (family == AF_INET6)
        for (const parse::MulticastGroup &group : groups.v6)
            TRY(dump_one(fd, true, group, entry));
    return {};
}

Result<void> restore_memberships(int fd, const img::inet_sk_entry &entry) {
    for (const img::ext_membership &membership : entry.ext().memberships())
        TRY(restore_one(fd, membership));
    return {};
}

} // namespace resource
