#include "criu/resource/socket/networks.hh"

#include "criu/kernel/namespaces.hh"

#include <algorithm>
#include <linux/sockios.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

namespace resource {

Result<Networks> Networks::open(const tree::Namespaces &namespaces) {
    Networks networks;
    const tree::Namespace *root = namespaces.of_root(tree::NamespaceKind::Net);
    if (!root)
        return networks; // not in this kernel
    networks.home_ = networks.current_ = root->id;
    networks.all_.push_back({.id = root->id, .inode = root->inode, .member = root->member});
    for (const tree::Namespace &ns : namespaces.all())
        if (ns.kind == root->kind && ns.id != root->id && ns.origin != tree::NamespaceOrigin::Host)
            networks.all_.push_back({.id = ns.id, .inode = ns.inode, .member = ns.member});
    if (networks.several())
        for (One &one : networks.all_)
            one.fd = TRY(kernel::open_namespace(one.member, root->kind));
    return networks;
}

Result<uint32_t> Networks::of(int socket) const {
    if (!several())
        return home_;
    const base::UniqueFd theirs(ioctl(socket, SIOCGSKNS));
    struct stat st {};
    if (!theirs || fstat(theirs.get(), &st) < 0)
        return base::fail_sys("ask for the network namespace of a socket");
    const auto found = std::ranges::find(all_, st.st_ino, &One::inode);
    if (found == all_.end())
        return base::unsupported("it belongs to a network namespace that no task of the tree lives in");
    return found->id;
}

Result<void> Networks::enter(uint32_t id) {
    if (id == current_)
        return {};
    const auto found = std::ranges::find(all_, id, &One::id);
    if (found == all_.end() || setns(found->fd.get(), CLONE_NEWNET) < 0)
        return base::fail_sys("enter a network namespace of the tree");
    current_ = id;
    return {};
}

Result<void> Networks::in_each(const std::function<Result<void>(uint32_t)> &body) {
    const uint32_t here = current_;
    Result<void> outcome;
    for (const One &one : all_) {
        TRY(enter(one.id));
        if (outcome = body(one.id); !outcome)
            break;
    }
    TRY(enter(here));
    return outcome;
}

base::Pid Networks::member() const {
    const auto found = std::ranges::find(all_, current_, &One::id);
    return found == all_.end() ? base::Pid() : found->member;
}

} // namespace resource
