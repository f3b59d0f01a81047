// The image holds the kernel's own messages. Of the kinds here the options that it lists are those that it takes, but
// for one number of htb.
#include "criu/resource/namespace/net/disciplines.hh"

#include "criu/kernel/netlink.hh"

#include <algorithm>
#include <cerrno>
#include <fmt/format.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <set>

namespace resource::net {
namespace {

constexpr std::string_view kDisciplines[] = {"pfifo",    "bfifo", "htb",     "tbf",   "fq",
                                             "fq_codel", "netem", "ingress", "clsact"};

std::string attribute_of(std::string_view body, int wanted) {
    std::string found;
    (void)kernel::for_each_attribute(body.substr(std::min(sizeof(tcmsg), body.size())),
                                     [&](int type, std::string_view value) {
                                         if (type == wanted)
                                             found = value;
                                     });
    return found;
}

std::string kind_of(std::string_view body) {
    const std::string kind = attribute_of(body, TCA_KIND);
    return kind.substr(0, kind.find('\0'));
}

/// Bodies of answers about one link. `parent`: of filters.
Result<std::vector<std::string>> list(int question_type, uint32_t index, uint32_t parent = 0) {
    struct {
        nlmsghdr head{};
        tcmsg body{};
    } question;
    question.body.tcm_ifindex = static_cast<int>(index);
    question.body.tcm_parent = parent;
    std::vector<std::string> bodies;
    auto listed = kernel::netlink_dump(NETLINK_ROUTE, question_type, &question, sizeof question,
                                       [&](std::string_view body) -> Result<void> {
                                           if (kernel::value_of<tcmsg>(body).tcm_ifindex == static_cast<int>(index))
                                               bodies.emplace_back(body);
                                           return {};
                                       });
    if (!listed && listed.error().code() != EOPNOTSUPP) // the kernel has none
        return base::fail(std::move(listed).error());
    return bodies;
}

/// Those that somebody has chosen: the kernel's own have no handle.
Result<std::vector<std::string>> chosen(uint32_t index) {
    auto bodies = TRY(list(RTM_GETQDISC, index));
    std::erase_if(bodies, [](const std::string &body) { return !kernel::value_of<tcmsg>(body).tcm_handle; });
    return bodies;
}

std::string with_head(int type, const std::string &body) {
    nlmsghdr head{};
    head.nlmsg_len = static_cast<uint32_t>(sizeof head + body.size());
    head.nlmsg_type = static_cast<uint16_t>(type);
    return std::string(reinterpret_cast<const char *>(&head), sizeof head) + body;
}

/// htb lists its version with the minor number, and takes it without.
std::string options_of(std::string_view body, int type) {
    std::string options = attribute_of(body, TCA_OPTIONS);
    if (type != RTM_NEWQDISC || kind_of(body) != "htb")
        return options;
    kernel::Request fixed(0);
    const size_t head = fixed.finish().size();
    (void)kernel::for_each_attribute(options, [&](int attribute, std::string_view value) {
        std::string copy(value);
        if (attribute == TCA_HTB_INIT && copy.size() >= sizeof(uint32_t)) {
            const uint32_t version = kernel::value_of<uint32_t>(copy) >> 16;
            copy.replace(0, sizeof version, reinterpret_cast<const char *>(&version), sizeof version);
        }
        fixed.attribute_bytes(attribute, copy);
    });
    return fixed.finish().substr(head);
}

Result<void> make(uint32_t index, std::string_view message) {
    const int type = kernel::value_of<nlmsghdr>(message).nlmsg_type;
    message.remove_prefix(std::min(sizeof(nlmsghdr), message.size()));
    if ((type != RTM_NEWQDISC && type != RTM_NEWTCLASS) || message.size() < sizeof(tcmsg))
        return base::bad_image("a queueing discipline that is none");
    auto head = kernel::value_of<tcmsg>(message);
    head.tcm_ifindex = static_cast<int>(index);
    head.tcm_info = 0;
    kernel::Request request(type, NLM_F_CREATE | (type == RTM_NEWQDISC ? NLM_F_REPLACE : NLM_F_EXCL));
    request.append(&head, sizeof head);
    request.attribute_text(TCA_KIND, kind_of(message));
    if (const std::string options = options_of(message, type); !options.empty())
        request.attribute_bytes(TCA_OPTIONS, options);
    return kernel::netlink_do(NETLINK_ROUTE, request);
}

} // namespace

Result<void> check_disciplines(uint32_t index, const std::string &name) {
    std::vector<uint32_t> parents;
    for (const std::string &body : TRY(chosen(index))) {
        if (std::ranges::find(kDisciplines, kind_of(body)) == std::end(kDisciplines))
            return base::unsupported(fmt::format("its link {} has a queueing discipline {}, which cannot be made again",
                                                 name, kind_of(body)));
        parents.push_back(kernel::value_of<tcmsg>(body).tcm_handle);
        if (kind_of(body) == "clsact") // one place for what comes, one for what goes
            parents.insert(parents.end(),
                           {TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS), TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)});
    }
    for (uint32_t parent : parents)
        if (const auto filters = list(RTM_GETTFILTER, index, parent); filters && !filters->empty())
            return base::unsupported(
                fmt::format("its link {} has filters of traffic control ({})", name, kind_of(filters->front())));
    return {};
}

Result<void> describe_disciplines(uint32_t index, img::ext_net_device &ext) {
    for (const std::string &body : TRY(chosen(index)))
        ext.add_disciplines(with_head(RTM_NEWQDISC, body));
    if (!ext.disciplines_size())
        return {};
    for (const std::string &body : TRY(list(RTM_GETTCLASS, index)))
        if (kind_of(body) == "htb") // classes of the others come with them
            ext.add_disciplines(with_head(RTM_NEWTCLASS, body));
    return {};
}

namespace {

/// Whether what it is attached to is among `made`: handles of disciplines and ids of classes.
bool is_ready(std::string_view message, const std::set<uint32_t> &made) {
    const auto about = kernel::value_of<tcmsg>(message.substr(std::min(sizeof(nlmsghdr), message.size())));
    const bool is_class = kernel::value_of<nlmsghdr>(message).nlmsg_type == RTM_NEWTCLASS;
    if (about.tcm_parent == TC_H_ROOT)
        return !is_class || made.contains(TC_H_MAJ(about.tcm_handle));
    return about.tcm_parent == TC_H_INGRESS || made.contains(about.tcm_parent);
}

} // namespace

// What one is attached to has to be there before it, in whatever order they are listed. A class whose parent is not
// there would become one of the root's.
Result<void> fill_disciplines(uint32_t index, const img::ext_net_device &ext) {
    std::vector<std::string> waiting(ext.disciplines().begin(), ext.disciplines().end());
    std::set<uint32_t> made;
    while (!waiting.empty()) {
        const auto next = std::ranges::find_if(waiting, [&](const std::string &each) { return is_ready(each, made); });
        if (next == waiting.end())
            return base::bad_image("a queueing discipline that is attached to nothing");
        TRY_CTX(make(index, *next), "set up a queueing discipline");
        made.insert(kernel::value_of<tcmsg>(std::string_view(*next).substr(sizeof(nlmsghdr))).tcm_handle);
        waiting.erase(next);
    }
    return {};
}

} // namespace resource::net
