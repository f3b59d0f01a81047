// The images hold the kernel's own messages, as CRIU's do. Not all of what they say can be said back: numbers, counters
// and times are the kernel's. Where addresses are translated, the kernel wants the tuple of the answers as it would be
// without that, and the translation beside it; it lists the former with the latter in it.
#include <netinet/in.h> // has to come before <linux/netfilter.h>

#include "criu/resource/namespace/net/conntrack.hh"

#include "criu/kernel/netlink.hh"
#include "criu/resource/namespace/net/messages.hh"

#include <cerrno>
#include <fmt/format.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <map>
#include <optional>
#include <sys/socket.h>

namespace resource::net {
namespace {

constexpr int kTypeMask = 0x3fff; // NLA_TYPE_MASK

struct Kind {
    image::ImageKind image;
    uint8_t subsystem;
    int ask, make; ///< messages
    const char *what;
};
constexpr Kind kKinds[] = {
    {image::ImageKind::NetnfCt, NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_NEW, "a tracked connection"},
    {image::ImageKind::NetnfExp, NFNL_SUBSYS_CTNETLINK_EXP, IPCTNL_MSG_EXP_GET, IPCTNL_MSG_EXP_NEW,
     "an expected connection"},
};

/// Attributes by type; the kernel says each once.
using Attributes = std::map<int, std::string>;

Attributes read_attributes(std::string_view bytes) {
    Attributes all;
    (void)kernel::for_each_attribute(bytes, [&](int type, std::string_view value) { all[type & kTypeMask] = value; });
    return all;
}

std::string find(const Attributes &all, int type) {
    const auto found = all.find(type);
    return found == all.end() ? std::string() : found->second;
}

/// Both ends of one direction, as far as they have addresses and ports.
struct Tuple {
    std::string source, destination; ///< 4 or 16 bytes
    std::string source_port, destination_port;
    bool v6() const { return source.size() == 16; }
};

Tuple read_tuple(const std::string &bytes) {
    const Attributes tuple = read_attributes(bytes), ip = read_attributes(find(tuple, CTA_TUPLE_IP)),
                     protocol = read_attributes(find(tuple, CTA_TUPLE_PROTO));
    const bool v6 = ip.contains(CTA_IP_V6_SRC);
    return {.source = find(ip, v6 ? CTA_IP_V6_SRC : CTA_IP_V4_SRC),
            .destination = find(ip, v6 ? CTA_IP_V6_DST : CTA_IP_V4_DST),
            .source_port = find(protocol, CTA_PROTO_SRC_PORT),
            .destination_port = find(protocol, CTA_PROTO_DST_PORT)};
}

/// Errors: EINTR where the list has changed meanwhile.
Result<std::string> list(const Kind &kind) {
    struct {
        nlmsghdr head{};
        nfgenmsg body{};
    } question;
    std::string messages;
    TRY(kernel::netlink_dump(NETLINK_NETFILTER, kind.subsystem << 8 | kind.ask, &question, sizeof question,
                             [&](std::string_view body) -> Result<void> {
                                 append_message(messages, kind.subsystem << 8 | kind.make, body);
                                 return {};
                             }));
    return messages;
}

// ---- restore

/// Entries that a fresh one can have been told to begin with.
constexpr int kSettable[] = {CTA_STATUS, CTA_TIMEOUT,      CTA_MARK,          CTA_ZONE,    CTA_LABELS,
                             CTA_HELP,   CTA_SEQ_ADJ_ORIG, CTA_SEQ_ADJ_REPLY, CTA_SYNPROXY};
constexpr uint32_t kTranslation = IPS_SRC_NAT | IPS_DST_NAT | IPS_SEQ_ADJUST | IPS_SRC_NAT_DONE | IPS_DST_NAT_DONE;

void append_tuple(kernel::Request &request, int type, const Tuple &tuple, const std::string &number) {
    const size_t whole = request.begin_nested(type | NLA_F_NESTED),
                 ip = request.begin_nested(CTA_TUPLE_IP | NLA_F_NESTED);
    request.attribute_bytes(tuple.v6() ? CTA_IP_V6_SRC : CTA_IP_V4_SRC, tuple.source);
    request.attribute_bytes(tuple.v6() ? CTA_IP_V6_DST : CTA_IP_V4_DST, tuple.destination);
    request.end_nested(ip);
    const size_t protocol = request.begin_nested(CTA_TUPLE_PROTO | NLA_F_NESTED);
    request.attribute_bytes(CTA_PROTO_NUM, number);
    request.attribute_bytes(CTA_PROTO_SRC_PORT, tuple.source_port);
    request.attribute_bytes(CTA_PROTO_DST_PORT, tuple.destination_port);
    request.end_nested(protocol);
    request.end_nested(whole);
}

void append_translation(kernel::Request &request, int type, bool v6, const std::string &address,
                        const std::string &port) {
    const size_t whole = request.begin_nested(type | NLA_F_NESTED);
    for (int end : {v6 ? CTA_NAT_V6_MINIP : CTA_NAT_V4_MINIP, v6 ? CTA_NAT_V6_MAXIP : CTA_NAT_V4_MAXIP})
        request.attribute_bytes(end, address);
    if (!port.empty()) {
        const size_t protocol = request.begin_nested(CTA_NAT_PROTO | NLA_F_NESTED);
        for (int end : {CTA_PROTONAT_PORT_MIN, CTA_PROTONAT_PORT_MAX})
            request.attribute_bytes(end, port);
        request.end_nested(protocol);
    }
    request.end_nested(whole);
}

/// Windows of what comes are not known to be those of what went: a restored connection may have moved on.
void append_state(kernel::Request &request, const std::string &bytes) {
    const Attributes info = read_attributes(bytes);
    const size_t whole = request.begin_nested(CTA_PROTOINFO | NLA_F_NESTED);
    for (const auto &[type, value] : info) {
        if (type != CTA_PROTOINFO_TCP) {
            request.attribute_bytes(type | NLA_F_NESTED, value);
            continue;
        }
        const size_t tcp = request.begin_nested(type | NLA_F_NESTED);
        for (auto [field, content] : read_attributes(value)) {
            if ((field == CTA_PROTOINFO_TCP_FLAGS_ORIGINAL || field == CTA_PROTOINFO_TCP_FLAGS_REPLY) &&
                content.size() >= 2) {
                content[0] = static_cast<char>(content[0] | IP_CT_TCP_FLAG_BE_LIBERAL); // and the mask of what is set
                content[1] = static_cast<char>(content[1] | IP_CT_TCP_FLAG_BE_LIBERAL);
            }
            request.attribute_bytes(field, content);
        }
        request.end_nested(tcp);
    }
    request.end_nested(whole);
}

void append_status(kernel::Request &request, const std::string &value) {
    uint32_t status = ntohl(kernel::value_of<uint32_t>(value)) & ~kTranslation;
    request.attribute(CTA_STATUS, htonl(status));
}

uint32_t status_of(const Attributes &all) {
    return ntohl(kernel::value_of<uint32_t>(find(all, CTA_STATUS)));
}

/// The tuple of the answers, and what is translated. That nothing is to be is a decision as well: without it the rules
/// would be asked again.
void append_answers(kernel::Request &request, const Attributes &all) {
    const Tuple there = read_tuple(find(all, CTA_TUPLE_ORIG)), back = read_tuple(find(all, CTA_TUPLE_REPLY));
    const bool translated = back.destination != there.source || back.destination_port != there.source_port ||
                            back.source != there.destination || back.source_port != there.destination_port;
    const bool has_ports = !there.source_port.empty();
    if (translated && has_ports) {
        const Attributes protocol = read_attributes(find(read_attributes(find(all, CTA_TUPLE_ORIG)), CTA_TUPLE_PROTO));
        append_tuple(request, CTA_TUPLE_REPLY,
                     {.source = there.destination,
                      .destination = there.source,
                      .source_port = there.destination_port,
                      .destination_port = there.source_port},
                     find(protocol, CTA_PROTO_NUM));
    } else
        request.attribute_bytes(CTA_TUPLE_REPLY | NLA_F_NESTED, find(all, CTA_TUPLE_REPLY));
    if (translated && !has_ports)
        return; // such tuples (ICMP) live for seconds
    if (status_of(all) & IPS_SRC_NAT_DONE)
        append_translation(request, CTA_NAT_SRC, there.v6(), back.destination, back.destination_port);
    if (status_of(all) & IPS_DST_NAT_DONE)
        append_translation(request, CTA_NAT_DST, there.v6(), back.source, back.source_port);
}

kernel::Request connection(const Kind &kind, std::string_view body) {
    kernel::Request request(kind.subsystem << 8 | kind.make, NLM_F_CREATE);
    request.append(body.data(), std::min(sizeof(nfgenmsg), body.size()));
    const Attributes all = read_attributes(body.substr(std::min(sizeof(nfgenmsg), body.size())));
    request.attribute_bytes(CTA_TUPLE_ORIG | NLA_F_NESTED, find(all, CTA_TUPLE_ORIG));
    append_answers(request, all);
    if (all.contains(CTA_PROTOINFO))
        append_state(request, all.at(CTA_PROTOINFO));
    for (int type : kSettable) {
        const auto found = all.find(type);
        if (found == all.end())
            continue;
        if (type == CTA_STATUS)
            append_status(request, found->second);
        else
            request.attribute_bytes(type, found->second);
    }
    return request;
}

kernel::Request expectation(const Kind &kind, std::string_view body) {
    kernel::Request request(kind.subsystem << 8 | kind.make, NLM_F_CREATE);
    request.append(body.data(), body.size());
    return request;
}

/// Errors: BadImage.
Result<void> send_all(NamespaceFillContext &context, const Kind &kind, std::string_view messages) {
    return for_each_message(messages, [&](int, std::string_view body) -> Result<void> {
        if (body.size() < sizeof(nfgenmsg))
            return base::bad_image("a message of impossible length");
        const kernel::Request request =
            kind.image == image::ImageKind::NetnfCt ? connection(kind, body) : expectation(kind, body);
        auto done = kernel::netlink_do(NETLINK_NETFILTER, request);
        if (!done && done.error().code() != EEXIST)
            context.log.warn(fmt::format("network: {} could not be restored: {}", kind.what, done.error().message()));
        return {};
    });
}

} // namespace

Result<void> dump_conntrack(NamespaceDumpContext &context, uint32_t id) {
    constexpr int kTries = 5;
    for (const Kind &kind : kKinds) {
        auto messages = list(kind);
        for (int i = 1; i < kTries && !messages && messages.error().code() == EINTR; i++)
            messages = list(kind);
        if (!messages && messages.error().code() == EINTR)
            return base::fail(std::move(messages.error().ctx("list tracked connections, which change all the time")));
        if (messages && !messages->empty()) // else there are none, or the kernel has no such thing
            TRY(context.images.write_raw(kind.image, id, *messages));
    }
    return {};
}

Result<void> fill_conntrack(NamespaceFillContext &context) {
    constexpr uint64_t kMost = 256u << 20;
    for (const Kind &kind : kKinds)
        if (context.images.exists(kind.image, context.id))
            TRY_CTX(send_all(context, kind, TRY(context.images.read_raw(kind.image, context.id, kMost))),
                    image::image_file_name(kind.image, context.id));
    return {};
}

} // namespace resource::net
