// Addresses, routes and rules: the image holds the kernel's own messages, as `ip address save` and its kin write them,
// and a restore sends them back. What the kernel has made by itself meanwhile (the address of the loopback, routes to
// networks that an address brings along) is there already.
#include "criu/kernel/netlink.hh"
#include "criu/resource/namespace/net/messages.hh"
#include "criu/resource/namespace/net/net.hh"
#include "criu/resource/namespace/net/nexthops.hh"

#include <algorithm>
#include <cerrno>
#include <fmt/format.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace resource::net {
namespace {

struct List {
    image::ImageKind kind;
    uint32_t magic;
    int question, answer;
    std::vector<int> families;
    const char *what;
};

const List kLists[] = {
    {image::ImageKind::Ifaddr, 0x47361222, RTM_GETADDR, RTM_NEWADDR, {AF_INET, AF_INET6}, "address"},
    {image::ImageKind::Route, 0x45311224, RTM_GETROUTE, RTM_NEWROUTE, {AF_INET}, "route"},
    {image::ImageKind::Route6, 0x45311224, RTM_GETROUTE, RTM_NEWROUTE, {AF_INET6}, "route"},
    {image::ImageKind::Rule, 0x71706986, RTM_GETRULE, RTM_NEWRULE, {AF_INET, AF_INET6}, "rule"},
};

/// Routes of this table follow from addresses.
bool is_kernels_own(const List &list, std::string_view body) {
    return list.answer == RTM_NEWROUTE && (kernel::value_of<rtmsg>(body).rtm_table == RT_TABLE_LOCAL ||
                                           (kernel::value_of<rtmsg>(body).rtm_flags & RTM_F_CLONED));
}

Result<std::string> ask(const List &list) {
    std::string messages;
    for (int family : list.families) {
        struct {
            nlmsghdr head{};
            rtmsg body{}; // as large as the other two
        } question;
        question.body.rtm_family = static_cast<unsigned char>(family);
        auto listed = kernel::netlink_dump(NETLINK_ROUTE, list.question, &question, sizeof question,
                                           [&](std::string_view body) -> Result<void> {
                                               if (!is_kernels_own(list, body))
                                                   append_message(messages, list.answer, body);
                                               return {};
                                           });
        if (!listed && listed.error().code() != EOPNOTSUPP && listed.error().code() != EAFNOSUPPORT) // no IPv6
            return base::fail(std::move(listed).error());
    }
    return messages;
}

bool has_attribute(std::string_view body, size_t head, int wanted) {
    bool found = false;
    (void)kernel::for_each_attribute(body.substr(std::min(body.size(), NLMSG_ALIGN(head))),
                                     [&](int type, std::string_view) { found = found || type == wanted; });
    return found;
}

/// A route that names a nexthop is listed with what that is, which is not to be said beside it.
void append_by_nexthop(kernel::Request &request, std::string_view body) {
    const size_t head = std::min(sizeof(rtmsg), body.size());
    request.append(body.data(), head);
    (void)kernel::for_each_attribute(body.substr(head), [&](int type, std::string_view value) {
        if (type != RTA_OIF && type != RTA_GATEWAY && type != RTA_VIA && type != RTA_MULTIPATH)
            request.attribute_bytes(type, value);
    });
}

/// The message about an entry. A rule's priority is not listed where it is 0; a new rule without one gets another.
kernel::Request about(const List &list, int type, int flags, std::string_view body) {
    kernel::Request request(type, flags);
    if (list.answer == RTM_NEWROUTE && has_attribute(body, sizeof(rtmsg), RTA_NH_ID))
        append_by_nexthop(request, body);
    else
        request.append(body.data(), body.size());
    if (list.answer == RTM_NEWRULE && !has_attribute(body, sizeof(fib_rule_hdr), FRA_PRIORITY))
        request.attribute(FRA_PRIORITY, 0u);
    return request;
}

/// The addresses came from a network where nobody else had them: IPv6 need not look for duplicates, for which a socket
/// could not be bound to them meanwhile.
std::string without_detection(const List &list, std::string body) {
    if (list.answer != RTM_NEWADDR || kernel::value_of<ifaddrmsg>(body).ifa_family != AF_INET6)
        return body;
    const auto set = [&](size_t at, uint32_t flags, size_t size) {
        flags = (flags | IFA_F_NODAD) & ~static_cast<uint32_t>(IFA_F_TENTATIVE);
        std::memcpy(body.data() + at, &flags, size);
    };
    set(offsetof(ifaddrmsg, ifa_flags), kernel::value_of<ifaddrmsg>(body).ifa_flags, 1);
    const std::string_view whole = body;
    (void)kernel::for_each_attribute(whole.substr(sizeof(ifaddrmsg)), [&](int type, std::string_view value) {
        if (type == IFA_FLAGS && value.size() == sizeof(uint32_t))
            set(static_cast<size_t>(value.data() - whole.data()), kernel::value_of<uint32_t>(value), sizeof(uint32_t));
    });
    return body;
}

Result<void> send(const List &list, const std::string &body) {
    const kernel::Request request = about(list, list.answer, NLM_F_CREATE | NLM_F_EXCL, without_detection(list, body));
    auto done = kernel::netlink_do(NETLINK_ROUTE, request);
    if (!done && done.error().code() != EEXIST)
        return base::fail(std::move(done.error().ctx(fmt::format("set up {}", list.what))));
    return {};
}

/// Errors: BadImage.
Result<std::vector<std::string>> bodies_of(std::string_view messages, const List &list) {
    std::vector<std::string> bodies;
    TRY(for_each_message(messages, [&](int type, std::string_view body) -> Result<void> {
        if (type == list.answer)
            bodies.emplace_back(body);
        return {};
    }));
    return bodies;
}

Result<std::vector<std::string>> read_messages(NamespaceFillContext &context, const List &list) {
    constexpr uint64_t kMost = 256u << 20;
    const std::string name = image::image_file_name(list.kind, context.id);
    if (!context.images.exists(list.kind, context.id))
        return std::vector<std::string>();
    const std::string bytes = TRY(context.images.read_raw(list.kind, context.id, kMost));
    if (bytes.size() < sizeof list.magic)
        return base::bad_image(name + ": of an impossible size");
    if (kernel::value_of<uint32_t>(bytes) != list.magic)
        return base::bad_image(name + ": no list of this kind");
    return TRY_CTX(bodies_of(std::string_view(bytes).substr(sizeof list.magic), list), name);
}

/// Every namespace begins with rules, of which a container may have none.
Result<void> drop_rules(const List &list, const std::vector<std::string> &wanted) {
    for (int family : list.families) {
        const auto is_of_family = [&](const std::string &body) { return !body.empty() && body[0] == family; };
        if (std::ranges::none_of(wanted, is_of_family))
            continue; // CRIU keeps those of IPv4 only
        for (const std::string &body :
             TRY(bodies_of(TRY(ask({list.kind, list.magic, list.question, list.answer, {family}, list.what})), list)))
            TRY_CTX(kernel::netlink_do(NETLINK_ROUTE, about(list, RTM_DELRULE, 0, body)), "delete a rule");
    }
    return {};
}

/// Where a gateway is reached through must be known before it: routes to what is at hand come first.
bool is_at_hand(const List &list, std::string_view body) {
    return list.answer != RTM_NEWROUTE || kernel::value_of<rtmsg>(body).rtm_scope >= RT_SCOPE_LINK;
}

/// The device of an address or route.
uint32_t device_of(const List &list, std::string_view body) {
    if (list.answer == RTM_NEWADDR)
        return kernel::value_of<ifaddrmsg>(body).ifa_index;
    uint32_t index = 0;
    if (list.answer == RTM_NEWROUTE)
        (void)kernel::for_each_attribute(body.substr(std::min(sizeof(rtmsg), body.size())),
                                         [&](int type, std::string_view value) {
                                             if (type == RTA_OIF)
                                                 index = kernel::value_of<uint32_t>(value);
                                         });
    return index;
}

/// A tun device comes with its file, and brings its addresses and routes along.
bool comes_later(const List &list, std::string_view body, const std::vector<img::net_device_entry> &devices) {
    const uint32_t index = device_of(list, body);
    char name[IF_NAMESIZE];
    if (!index || if_indextoname(index, name))
        return false;
    const auto device = std::ranges::find(devices, index, &img::net_device_entry::ifindex);
    return device == devices.end() || device->type() == img::TUN;
}

} // namespace

Result<void> dump_lists(NamespaceDumpContext &context, uint32_t id) {
    for (const List &list : kLists) {
        const std::string messages = TRY(ask(list));
        if (messages.empty())
            continue;
        std::string bytes(reinterpret_cast<const char *>(&list.magic), sizeof list.magic);
        TRY(context.images.write_raw(list.kind, id, bytes + messages));
    }
    return {};
}

Result<void> fill_lists(NamespaceFillContext &context) {
    const auto devices = TRY(context.images.read<img::net_device_entry>(image::ImageKind::Netdev, context.id));
    for (const List &list : kLists) {
        const auto bodies = TRY(read_messages(context, list));
        if (list.kind == image::ImageKind::Route)
            TRY(fill_nexthops(context));
        if (list.answer == RTM_NEWRULE)
            TRY(drop_rules(list, bodies));
        for (bool at_hand : {true, false})
            for (const std::string &body : bodies)
                if (is_at_hand(list, body) == at_hand && !comes_later(list, body, devices))
                    TRY(send(list, body));
    }
    return {};
}

} // namespace resource::net
