#include "criu/resource/namespace/net/nexthops.hh"

#include "criu/kernel/netlink.hh"

#include <cerrno>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>

namespace resource::net {
namespace {

bool is_group(std::string_view message) {
    bool found = false;
    (void)kernel::for_each_attribute(message.substr(std::min(sizeof(nhmsg), message.size())),
                                     [&](int type, std::string_view) { found = found || type == NHA_GROUP; });
    return found;
}

/// Others report statistics.
bool is_settable(int type) {
    return (type >= NHA_ID && type <= NHA_ENCAP) || type == NHA_FDB || type == NHA_RES_GROUP;
}

/// Scope and state are the kernel's to find out.
Result<void> make(std::string_view message) {
    auto head = kernel::value_of<nhmsg>(message);
    head.nh_scope = head.resvd = 0;
    head.nh_flags &= RTNH_F_ONLINK;
    kernel::Request request(RTM_NEWNEXTHOP, NLM_F_CREATE | NLM_F_EXCL);
    request.append(&head, sizeof head);
    TRY(kernel::for_each_attribute(message.substr(std::min(sizeof head, message.size())),
                                   [&](int type, std::string_view value) {
                                       if (is_settable(type))
                                           request.attribute_bytes(type, value);
                                   }));
    auto done = kernel::netlink_do(NETLINK_ROUTE, request);
    if (!done)
        return base::fail(std::move(done.error().ctx("set up a nexthop")));
    return {};
}

} // namespace

Result<void> describe_nexthops(img::netns_entry &entry) {
    struct {
        nlmsghdr head{};
        nhmsg body{};
    } question;
    auto listed = kernel::netlink_dump(NETLINK_ROUTE, RTM_GETNEXTHOP, &question, sizeof question,
                                       [&](std::string_view message) -> Result<void> {
                                           entry.mutable_ext()->add_nexthops(std::string(message));
                                           return {};
                                       });
    if (!listed && listed.error().code() != EOPNOTSUPP && listed.error().code() != EINVAL) // not in this kernel
        return base::fail(std::move(listed).error());
    return {};
}

// Groups name others.
Result<void> fill_nexthops(NamespaceFillContext &context) {
    const auto entry = TRY(context.images.read_one<img::netns_entry>(image::ImageKind::Netns, context.id));
    if (!entry)
        return {};
    for (bool groups : {false, true})
        for (const std::string &message : entry->ext().nexthops())
            if (is_group(message) == groups)
                TRY(make(message));
    return {};
}

} // namespace resource::net
