#include "criu/resource/namespace/net/peers.hh"

#include "criu/kernel/namespaces.hh"
#include "criu/kernel/netlink.hh"

#include <cerrno>
#include <fmt/format.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

namespace resource::net {
namespace {

kernel::Request about_namespace(int type, int fd) {
    kernel::Request request(type);
    const rtgenmsg body{.rtgen_family = AF_UNSPEC};
    request.append(&body, NLMSG_ALIGN(sizeof body));
    request.attribute(NETNSA_FD, static_cast<uint32_t>(fd));
    return request;
}

/// The number by which the thread's namespace knows another; negative: it has none for it.
Result<int32_t> number_of(int fd) {
    const std::string request = about_namespace(RTM_GETNSID, fd).finish();
    const base::UniqueFd line(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    char answer[512];
    if (!line || send(line.get(), request.data(), request.size(), 0) < 0)
        return base::fail_sys("ask for the number of a network namespace");
    const ssize_t size = recv(line.get(), answer, sizeof answer, 0);
    constexpr size_t kHead = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(rtgenmsg));
    if (size < 0)
        return base::fail_sys("ask for the number of a network namespace");
    const std::string_view whole(answer, static_cast<size_t>(size));
    int32_t number = NETNSA_NSID_NOT_ASSIGNED;
    if (whole.size() >= kHead && kernel::value_of<nlmsghdr>(whole).nlmsg_type == RTM_NEWNSID)
        TRY(kernel::for_each_attribute(whole.substr(kHead), [&](int type, std::string_view value) {
            if (type == NETNSA_NSID)
                number = kernel::value_of<int32_t>(value);
        }));
    return number;
}

} // namespace

Result<std::map<int32_t, uint32_t>> known_namespaces(const tree::Namespaces &namespaces) {
    std::map<int32_t, uint32_t> known;
    for (const tree::Namespace &ns : namespaces.all()) {
        if (ns.kind != tree::NamespaceKind::Net || ns.origin != tree::NamespaceOrigin::Ours)
            continue;
        const base::UniqueFd fd = TRY(kernel::open_namespace(ns.member, ns.kind));
        if (const int32_t number = TRY(number_of(fd.get())); number >= 0)
            known[number] = ns.id;
    }
    return known;
}

Result<void> number_namespaces(const NamespaceFillContext &context, const img::netns_entry &entry) {
    for (const img::netns_id &id : entry.nsids()) {
        const auto other = context.made.find(id.target_ns_id());
        if (other == context.made.end())
            continue; // one that nobody lives in any more
        kernel::Request request = about_namespace(RTM_NEWNSID, other->second.get());
        request.attribute(NETNSA_NSID, static_cast<uint32_t>(id.netnsid_value()));
        auto done = kernel::netlink_do(NETLINK_ROUTE, request);
        if (!done && done.error().code() != EEXIST)
            return base::fail(std::move(done.error().ctx("number another network namespace")));
    }
    return {};
}

Result<std::optional<FarEnd>> find_far_end(const NamespaceFillContext &context, const img::net_device_entry &device) {
    const auto there = context.made.find(device.peer_nsid());
    if (device.type() != img::VETH || !device.has_peer_nsid() || device.peer_nsid() == context.id ||
        there == context.made.end())
        return std::nullopt;
    for (auto &other : TRY(context.images.read<img::net_device_entry>(image::ImageKind::Netdev, device.peer_nsid())))
        if (other.ifindex() == device.peer_ifindex() && other.type() == img::VETH)
            return FarEnd{std::move(other), there->second.get()};
    return base::bad_image(
        fmt::format("netdev-{}.img: the other end of {} is missing", device.peer_nsid(), device.name()));
}

} // namespace resource::net
