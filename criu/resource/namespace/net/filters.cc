// nftables: the image is the text of the ruleset, as nft lists it, table by table; libnftables writes and reads it. It
// is loaded only where a namespace has tables, or an image: that costs 4 ms.
//
// The tables of the old iptables are refused by a dump where they hold rules: their kernel part is on its way out.
// Those of images that CRIU has written come back as rules of nftables (iptables_text.hh).
#include <netinet/in.h> // has to come before <linux/netfilter.h>

#include "criu/resource/namespace/net/filters.hh"

#include "criu/kernel/io.hh"
#include "criu/kernel/netlink.hh"
#include "criu/resource/namespace/net/iptables_text.hh"
#include "criu/resource/namespace/net/ruleset_text.hh"

#include <algorithm>
#include <bit>
#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <memory>
#include <nftables/libnftables.h>
#include <sys/socket.h>

namespace resource::net {
namespace {

constexpr const char *kLeaveOut = "--empty-ns net leaves the network to the caller, who makes it anew in the hook "
                                  "setup-namespaces of the restore";

/// libnftables, loaded on demand.
class Nft {
public:
    static Result<Nft> load() {
        Nft nft;
        nft.library_.reset(dlopen("libnftables.so.1", RTLD_NOW));
        if (!nft.library_)
            return base::fail(std::move(base::unsupported(fmt::format("libnftables cannot be loaded: {}", dlerror()))
                                            .error()
                                            .hint("install libnftables (Debian: libnftables1)")));
        const auto create = nft.find<decltype(nft_ctx_new)>("nft_ctx_new");
        const auto free = nft.find<decltype(nft_ctx_free)>("nft_ctx_free");
        nft.run_ = nft.find<decltype(nft_run_cmd_from_buffer)>("nft_run_cmd_from_buffer");
        nft.output_ = nft.find<decltype(nft_ctx_get_output_buffer)>("nft_ctx_get_output_buffer");
        nft.errors_ = nft.find<decltype(nft_ctx_get_error_buffer)>("nft_ctx_get_error_buffer");
        const auto buffer_output = nft.find<decltype(nft_ctx_buffer_output)>("nft_ctx_buffer_output");
        const auto buffer_errors = nft.find<decltype(nft_ctx_buffer_error)>("nft_ctx_buffer_error");
        if (!create || !free || !nft.run_ || !nft.output_ || !nft.errors_ || !buffer_output || !buffer_errors)
            return base::unsupported("libnftables lacks a function");
        nft.context_ = {create(NFT_CTX_DEFAULT), free};
        if (!nft.context_ || buffer_output(nft.context_.get()) || buffer_errors(nft.context_.get()))
            return base::fail_sys("libnftables");
        return nft;
    }

    /// What `nft COMMANDS` prints, in the namespace of the calling thread.
    Result<std::string> run(const std::string &commands) {
        if (run_(context_.get(), commands.c_str())) {
            std::string why = errors_(context_.get());
            return base::unsupported(fmt::format("nftables: {}", why.substr(0, why.find('\n'))));
        }
        return std::string(output_(context_.get()));
    }

private:
    struct Close {
        void operator()(void *handle) const { dlclose(handle); }
    };
    template <class Function> Function *find(const char *name) {
        return reinterpret_cast<Function *>(dlsym(library_.get(), name));
    }
    std::unique_ptr<void, Close> library_;
    std::unique_ptr<nft_ctx, decltype(nft_ctx_free) *> context_{nullptr, nullptr};
    decltype(nft_run_cmd_from_buffer) *run_ = nullptr;
    decltype(nft_ctx_get_output_buffer) *output_ = nullptr;
    decltype(nft_ctx_get_error_buffer) *errors_ = nullptr;
};

/// Tables as nft names them ("inet filter"), without those that hold packets back for a dump.
std::vector<std::string> list_tables() {
    struct {
        nlmsghdr head{};
        nfgenmsg body{};
    } question;
    const auto family = [](uint8_t number) {
        switch (number) {
        case NFPROTO_INET:
            return "inet";
        case NFPROTO_IPV4:
            return "ip";
        case NFPROTO_IPV6:
            return "ip6";
        case NFPROTO_ARP:
            return "arp";
        case NFPROTO_BRIDGE:
            return "bridge";
        default:
            return "netdev";
        }
    };
    std::vector<std::string> tables;
    const auto note = [&](std::string_view message) -> Result<void> {
        const auto head = kernel::value_of<nfgenmsg>(message);
        return kernel::for_each_attribute(
            message.substr(std::min(sizeof head, message.size())), [&](int type, std::string_view value) {
                if (type == NFTA_TABLE_NAME && !value.starts_with("CRIU-"))
                    tables.push_back(fmt::format("{} {}", family(head.nfgen_family), value.data()));
            });
    };
    (void)kernel::netlink_dump(NETLINK_NETFILTER, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE, &question,
                               sizeof question, note); // without nf_tables there are none
    return tables;
}

// ---- the old tables: <linux/netfilter_ipv4/ip_tables.h> cannot be compiled as C++

struct TableInfo { // struct ipt_getinfo, and the same for IPv6
    char name[32];
    uint32_t valid_hooks, hook_entry[5], underflow[5], entries, size;
};

struct OldTables {
    const char *list; ///< below /proc/thread-self/net
    int family, level;
};
constexpr OldTables kOldTables[] = {{"ip_tables_names", AF_INET, IPPROTO_IP},
                                    {"ip6_tables_names", AF_INET6, IPPROTO_IPV6}};
constexpr int kGetInfo = 64; // IPT_SO_GET_INFO, IP6T_SO_GET_INFO

/// A table without rules has an entry for the policy of each hook, and one for its end.
Result<bool> has_rules(const OldTables &tables, std::string_view name) {
    const base::UniqueFd socket(::socket(tables.family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
    TableInfo info{};
    name.copy(info.name, sizeof info.name - 1);
    socklen_t size = sizeof info;
    if (!socket || getsockopt(socket.get(), tables.level, kGetInfo, &info, &size) < 0)
        return base::fail_sys(fmt::format("look at the iptables table {}", name));
    return info.entries > static_cast<uint32_t>(std::popcount(info.valid_hooks)) + 1;
}

Result<void> check_old_tables() {
    for (const OldTables &tables : kOldTables) {
        std::string names =
            kernel::read_file(AT_FDCWD, fmt::format("/proc/thread-self/net/{}", tables.list).c_str()).value_or("");
        for (std::string_view rest = names; !rest.empty();) {
            const std::string_view name = rest.substr(0, rest.find('\n'));
            rest.remove_prefix(std::min(name.size() + 1, rest.size()));
            if (!name.empty() && TRY(has_rules(tables, name)))
                return base::fail(std::move(
                    base::unsupported(fmt::format("the iptables table {} has rules, which are not saved", name))
                        .error()
                        .hint(fmt::format("turn them into nftables (iptables-save, iptables-restore-translate); "
                                          "or {}",
                                          kLeaveOut))));
        }
    }
    return {};
}

/// Rules of iptables-nft that nft has no words for.
bool is_not_nftables(std::string_view text) {
    return text.contains("xt match \"") || text.contains("xt target \"") || text.contains("xt watcher \"");
}

Result<std::string> read_text(NamespaceFillContext &context, image::ImageKind kind) {
    constexpr uint64_t kMost = 64u << 20;
    std::string text = TRY(context.images.read_raw(kind, context.id, kMost));
    if (text.contains('\0'))
        return base::bad_image(image::image_file_name(kind, context.id) + ": no text");
    return text;
}

/// Those of the old iptables, in the words of nft.
Result<std::string> read_old_rules(NamespaceFillContext &context, std::string_view others) {
    std::string commands;
    for (auto [kind, family] :
         {std::pair{image::ImageKind::Iptables, IpFamily::V4}, std::pair{image::ImageKind::Ip6tables, IpFamily::V6}})
        if (const std::string old = TRY(read_text(context, kind)); !is_without_rules(old))
            commands += TRY_CTX(iptables_to_nftables(old, family, others), image::image_file_name(kind, context.id));
    return commands.empty() ? commands : "\n" + commands;
}

} // namespace

Result<void> check_filters() {
    return check_old_tables();
}

Result<void> dump_filters(NamespaceDumpContext &context, uint32_t id) {
    const auto tables = list_tables();
    if (tables.empty())
        return {};
    Nft nft = TRY(Nft::load());
    std::string text;
    for (const std::string &table : tables)
        text += TRY(nft.run(fmt::format("list table {}", table)));
    if (is_not_nftables(text))
        return base::fail(std::move(
            base::unsupported("it has rules of iptables-nft that nftables has no words for").error().hint(kLeaveOut)));
    return context.images.write_raw(image::ImageKind::Nftables, id, text);
}

Result<void> fill_filters(NamespaceFillContext &context) {
    std::string text = TRY_CTX(ruleset_without_locks(TRY(read_text(context, image::ImageKind::Nftables))),
                               image::image_file_name(image::ImageKind::Nftables, context.id));
    text += TRY(read_old_rules(context, text));
    if (text.empty())
        return {};
    Nft nft = TRY(Nft::load());
    TRY(nft.run(text));
    return {};
}

} // namespace resource::net
