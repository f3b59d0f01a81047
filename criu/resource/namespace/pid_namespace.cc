// Pid namespaces hold nothing but numbers: who has which is in pstree.img, as the namespace's own tasks see it. It
// lives as long as its init, which has to be the root of the tree.
#include "criu/resource/namespace/kinds.hh"

#include <fmt/format.h>

namespace resource::pid_namespace {

Result<void> refuse(const NamespaceCheckContext &context, const tree::Namespace &ns) {
    const tree::TaskFacts &root = context.tasks.front();
    if (root.vpid.value == 1)
        return {};
    return base::fail(
        base::Error(
            base::ErrorKind::Unsupported,
            fmt::format("whose init is outside of the tree (the root of the tree has pid {} in it)", root.vpid.value))
            .hint(fmt::format("dump the whole namespace: -t with the pid of its init; or leave the namespace to the "
                              "caller: --external pid[{}]:KEY",
                              ns.inode)));
}

} // namespace resource::pid_namespace
