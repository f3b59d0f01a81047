// Network namespaces: links, their addresses, routes and rules, packet filters, and settings (sysctl). With --empty-ns
// net nothing of it is looked at: the caller sets the network up between the creation of the namespace and the sockets
// (the hook setup-namespaces), as container engines do.
#include "criu/resource/namespace/net/conntrack.hh"
#include "criu/resource/namespace/net/filters.hh"
#include "criu/resource/namespace/net/given_links.hh"
#include "criu/resource/namespace/net/net.hh"

#include "criu/kernel/namespaces.hh"
#include "criu/resource/namespace/kinds.hh"

namespace resource::net_namespace {
namespace {

Result<void> visit(const tree::Namespace &ns, const std::function<Result<void>()> &body) {
    const base::UniqueFd fd = TRY(kernel::open_namespace(ns.member, ns.kind));
    return kernel::inside(std::array{fd.get()}, body);
}

} // namespace

Result<void> refuse(const NamespaceCheckContext &context, const tree::Namespace &ns) {
    const bool nested = ns.id != context.namespaces.root_id(ns.kind);
    if (context.options.empty_net && nested)
        return base::unsupported("while --empty-ns net leaves the network to the caller, who makes one only");
    if (context.options.empty_net)
        return {};
    auto outcome = visit(ns, [&]() -> Result<void> {
        TRY(net::check_links(context.namespaces, nested));
        return net::check_filters();
    });
    if (!outcome && nested)
        return outcome;
    if (!outcome)
        return base::fail(
            std::move(outcome.error().hint("--empty-ns net leaves the network to the caller, who makes it "
                                           "anew in the hook setup-namespaces of the restore")));
    return {};
}

Result<void> dump(NamespaceDumpContext &context, const tree::Namespace &ns) {
    if (context.options.empty_net)
        return visit(ns, [&] { return net::dump_loopback(context, ns.id); });
    return visit(ns, [&]() -> Result<void> {
        TRY(net::dump_settings(context, ns.id));
        TRY(net::dump_links(context, ns.id));
        TRY(net::dump_lists(context, ns.id));
        TRY(net::dump_filters(context, ns.id));
        return net::dump_conntrack(context, ns.id);
    });
}

Result<void> bring(NamespaceBringContext &context) {
    if (context.options.empty_net)
        return {};
    return net::bring_links(context);
}

Result<void> fill(NamespaceFillContext &context) {
    if (context.options.empty_net)
        return net::raise_loopback(context);
    TRY(net::fill_settings(context));
    TRY(net::fill_links(context));
    TRY(net::fill_lists(context));
    TRY(net::finish_links(context));
    TRY(net::fill_filters(context));
    return net::fill_conntrack(context);
}

} // namespace resource::net_namespace
