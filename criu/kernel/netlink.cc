#include "criu/kernel/netlink.hh"

#include "base/unique_fd.hh"

#include <algorithm>
#include <cstring>
#include <sys/socket.h>

namespace kernel {

namespace {

constexpr size_t align4(size_t n) {
    return (n + 3) & ~size_t{3};
}

Result<base::UniqueFd> open_netlink(int protocol) {
    base::UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
    if (!fd)
        return base::fail_sys("netlink");
    const int on = 1; // the kernel says in words what it dislikes, without the whole request in front of that
    (void)setsockopt(fd.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
    (void)setsockopt(fd.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
    return fd;
}

/// "netlink", with what the kernel adds to an error.
std::string complaint(const nlmsghdr &head, std::string_view body) {
    std::string words = "netlink";
    if (head.nlmsg_flags & NLM_F_ACK_TLVS)
        (void)for_each_attribute(body.substr(std::min(sizeof(nlmsgerr), body.size())),
                                 [&](int type, std::string_view value) {
                                     if (type == NLMSGERR_ATTR_MSG)
                                         words.append(": ").append(value.substr(0, value.find('\0')));
                                 });
    return words;
}

enum class Reply { More, Done };

/// Looks through one datagram of answers. Without `visit` the first answer ends the conversation.
Result<Reply> read_replies(std::string_view data, const MessageVisitor *visit) {
    while (data.size() >= sizeof(nlmsghdr)) {
        nlmsghdr head;
        std::memcpy(&head, data.data(), sizeof head);
        if (head.nlmsg_len < sizeof head || head.nlmsg_len > data.size())
            return base::fail_sys(EBADMSG, "netlink");
        const std::string_view body = data.substr(sizeof head, head.nlmsg_len - sizeof head);
        if (head.nlmsg_type == NLMSG_ERROR) {
            nlmsgerr error{};
            std::memcpy(&error, body.data(), std::min(sizeof error, body.size()));
            if (error.error != 0)
                return base::fail_sys(-error.error, complaint(head, body));
            return Reply::Done;
        }
        if (!visit || head.nlmsg_type == NLMSG_DONE)
            return Reply::Done;
        if (head.nlmsg_flags & NLM_F_DUMP_INTR)
            return base::fail_sys(EINTR, "netlink dump");
        TRY((*visit)(body));
        data.remove_prefix(std::min(data.size(), align4(head.nlmsg_len)));
    }
    return Reply::More;
}

Result<void> converse(int protocol, std::string_view bytes, const MessageVisitor *visit) {
    base::UniqueFd fd = TRY(open_netlink(protocol));
    if (send(fd.get(), bytes.data(), bytes.size(), 0) < 0)
        return base::fail_sys("netlink send");
    std::string buffer(65536, '\0');
    for (;;) {
        ssize_t got = recv(fd.get(), buffer.data(), buffer.size(), 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return base::fail_sys("netlink receive");
        if (TRY(read_replies(std::string_view(buffer).substr(0, static_cast<size_t>(got)), visit)) == Reply::Done)
            return {};
    }
}

} // namespace

Request::Request(int type, int flags) {
    nlmsghdr head{};
    head.nlmsg_type = static_cast<uint16_t>(type);
    head.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
    append(&head, sizeof head);
}

void Request::append(const void *data, size_t size) {
    bytes_.append(static_cast<const char *>(data), size);
    bytes_.resize(align4(bytes_.size()));
}

void Request::attribute_bytes(int type, std::string_view value) {
    nlattr head{static_cast<uint16_t>(sizeof(nlattr) + value.size()), static_cast<uint16_t>(type)};
    append(&head, sizeof head);
    append(value.data(), value.size());
}

void Request::attribute(int type, uint32_t value) {
    attribute_bytes(type, {reinterpret_cast<const char *>(&value), sizeof value});
}

void Request::attribute_text(int type, std::string_view text) {
    std::string terminated(text);
    attribute_bytes(type, {terminated.c_str(), terminated.size() + 1});
}

size_t Request::begin_nested(int type) {
    size_t begin = bytes_.size();
    attribute_bytes(type, {});
    return begin;
}

void Request::end_nested(size_t begin) {
    auto size = static_cast<uint16_t>(bytes_.size() - begin);
    std::memcpy(bytes_.data() + begin, &size, sizeof size);
}

std::string Request::finish() const {
    std::string out = bytes_;
    auto size = static_cast<uint32_t>(out.size());
    std::memcpy(out.data(), &size, sizeof size);
    return out;
}

Result<void> netlink_do(int protocol, const Request &request) {
    return converse(protocol, request.finish(), nullptr);
}

Result<void> netlink_dump(int protocol, int type, void *request, size_t size, const MessageVisitor &visit) {
    nlmsghdr head{};
    head.nlmsg_len = static_cast<uint32_t>(size);
    head.nlmsg_type = static_cast<uint16_t>(type);
    head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    std::memcpy(request, &head, sizeof head);
    return converse(protocol, std::string_view(static_cast<const char *>(request), size), &visit);
}

Result<void> netlink_dump(int protocol, int type, void *request, size_t size) {
    return netlink_dump(protocol, type, request, size, [](std::string_view) -> Result<void> { return {}; });
}

Result<void> for_each_attribute(std::string_view bytes, const AttributeVisitor &visit) {
    while (bytes.size() >= sizeof(nlattr)) {
        nlattr head;
        std::memcpy(&head, bytes.data(), sizeof head);
        if (head.nla_len < sizeof head || head.nla_len > bytes.size())
            return base::fail_sys(EBADMSG, "netlink attribute");
        visit(head.nla_type & NLA_TYPE_MASK, bytes.substr(sizeof head, head.nla_len - sizeof head));
        bytes.remove_prefix(std::min(bytes.size(), align4(head.nla_len)));
    }
    return {};
}

} // namespace kernel
