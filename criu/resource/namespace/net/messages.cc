#include "criu/resource/namespace/net/messages.hh"

#include "criu/kernel/netlink.hh"

#include <algorithm>

namespace resource::net {

void append_message(std::string &list, int type, std::string_view body) {
    constexpr size_t kAlign = NLMSG_ALIGNTO; // NLMSG_ALIGN() is one of 32 bits
    nlmsghdr head{};
    head.nlmsg_len = static_cast<uint32_t>(sizeof head + body.size());
    head.nlmsg_type = static_cast<uint16_t>(type);
    head.nlmsg_flags = NLM_F_MULTI;
    list.append(reinterpret_cast<const char *>(&head), sizeof head);
    list.append(body);
    list.resize((list.size() + kAlign - 1) / kAlign * kAlign);
}

Result<void> for_each_message(std::string_view list,
                              const std::function<Result<void>(int type, std::string_view body)> &visit) {
    while (list.size() >= sizeof(nlmsghdr)) {
        const auto head = kernel::value_of<nlmsghdr>(list);
        if (head.nlmsg_len < sizeof head || head.nlmsg_len > list.size())
            return base::bad_image("a message of impossible length");
        TRY(visit(head.nlmsg_type, list.substr(sizeof head, head.nlmsg_len - sizeof head)));
        list.remove_prefix(std::min<size_t>(NLMSG_ALIGN(head.nlmsg_len), list.size()));
    }
    return {};
}

} // namespace resource::net
