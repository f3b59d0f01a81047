#include "criu/resource/namespace/mounts/tree_mounts.hh"

#include "criu/kernel/io.hh"
#include "criu/parse/mountinfo.hh"

#include <fcntl.h>
#include <fmt/format.h>

namespace resource {

Result<TreeMounts> tree_mounts(const tree::Namespaces &namespaces) {
    TreeMounts mounts;
    const uint32_t root = namespaces.root_id(tree::NamespaceKind::Mnt);
    for (const tree::Namespace &ns : namespaces.all()) {
        if (ns.kind != tree::NamespaceKind::Mnt || ns.origin == tree::NamespaceOrigin::Host)
            continue;
        const std::string before = fmt::format("/proc/{}/root", ns.member.value);
        (ns.id == root ? mounts.root : mounts.roots[ns.inode]) = before; // where the root has the tool's: ""
        const std::string text =
            TRY(kernel::read_file(AT_FDCWD, fmt::format("/proc/{}/mountinfo", ns.member.value).c_str()));
        for (const parse::Mount &mount : TRY(parse::parse_mountinfo(text))) {
            mounts.ids.insert(static_cast<uint32_t>(mount.id));
            if (ns.id != root)
                mounts.elsewhere.emplace(static_cast<uint32_t>(mount.id), ns.inode);
        }
    }
    mounts.home = mounts.root;
    return mounts;
}

} // namespace resource
