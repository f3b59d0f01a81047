// Addresses, routes and rules: the image holds the kernel's own messages, as `ip address save` and its kin write them,
// and a restore sends them back. What the kernel has made by itself meanwhile (the address of the loopback, routes to
// networks that an address brings along) is there already.
#include "criu/kernel/netlink.hh"
#include "criu/resource/namespace/net/net.hh"

#include <cerrno>
#include <fmt/format.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
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

void append(std::string &out, const List &list, std::string_view body) {
    constexpr size_t kAlign = 4;
    nlmsghdr head{};
    head.nlmsg_len = static_cast<uint32_t>(sizeof head + body.size());
    head.nlmsg_type = static_cast<uint16_t>(list.answer);
    head.nlmsg_flags = NLM_F_MULTI;
    out.append(reinterpret_cast<const char *>(&head), sizeof head);
    out.append(body);
    out.resize((out.size() + kAlign - 1) / kAlign * kAlign);
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
                                                   append(messages, list, body);
                                               return {};
                                           });
        if (!listed && listed.error().code() != EOPNOTSUPP && listed.error().code() != EAFNOSUPPORT) // no IPv6
            return base::fail(std::move(listed).error());
    }
    return messages;
}

Result<void> send(const List &list, std::string_view body) {
    kernel::Request request(list.answer, NLM_F_CREATE | NLM_F_EXCL);
    request.append(body.data(), body.size());
    auto done = kernel::netlink_do(NETLINK_ROUTE, request);
    if (!done && done.error().code() != EEXIST)
        return base::fail(std::move(done.error().ctx(fmt::format("set up {}", list.what))));
    return {};
}

Result<std::vector<std::string>> read_messages(NamespaceFillContext &context, const List &list) {
    auto file = TRY(context.images.open_raw(list.kind, context.id));
    std::vector<std::string> bodies;
    if (!file)
        return bodies;
    const uint64_t size = TRY(context.images.file_size(list.kind, context.id));
    constexpr uint64_t kMost = 256u << 20;
    const std::string name = image::image_file_name(list.kind, context.id);
    if (size < sizeof list.magic || size > kMost)
        return base::bad_image(name + ": of an impossible size");
    std::string bytes(size, '\0');
    if (pread(file->get(), bytes.data(), size, 0) != static_cast<ssize_t>(size))
        return base::fail_sys(name);
    std::string_view rest = bytes;
    if (kernel::value_of<uint32_t>(rest) != list.magic)
        return base::bad_image(name + ": no list of this kind");
    for (rest.remove_prefix(sizeof list.magic); rest.size() >= sizeof(nlmsghdr);) {
        const auto head = kernel::value_of<nlmsghdr>(rest);
        if (head.nlmsg_len < sizeof head || head.nlmsg_len > rest.size())
            return base::bad_image(name + ": a message of impossible length");
        if (head.nlmsg_type == list.answer)
            bodies.emplace_back(rest.substr(sizeof head, head.nlmsg_len - sizeof head));
        rest.remove_prefix(std::min<size_t>(NLMSG_ALIGN(head.nlmsg_len), rest.size()));
    }
    return bodies;
}

/// Where a gateway is reached through must be known before it: routes to what is at hand come first.
bool is_at_hand(const List &list, std::string_view body) {
    return list.answer != RTM_NEWROUTE || kernel::value_of<rtmsg>(body).rtm_scope >= RT_SCOPE_LINK;
}

} // namespace

Result<void> dump_lists(NamespaceDumpContext &context, uint32_t id) {
    for (const List &list : kLists) {
        const std::string messages = TRY(ask(list));
        if (messages.empty())
            continue;
        const int file = TRY(context.images.raw(list.kind, id));
        std::string bytes(reinterpret_cast<const char *>(&list.magic), sizeof list.magic);
        bytes += messages;
        if (write(file, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
            return base::fail_sys(fmt::format("write {}", image::image_file_name(list.kind, id)));
        TRY(context.images.close_file(list.kind, id));
    }
    return {};
}

Result<void> fill_lists(NamespaceFillContext &context) {
    for (const List &list : kLists) {
        const auto bodies = TRY(read_messages(context, list));
        for (bool at_hand : {true, false})
            for (const std::string &body : bodies)
                if (is_at_hand(list, body) == at_hand)
                    TRY(send(list, body));
    }
    return {};
}

} // namespace resource::net
