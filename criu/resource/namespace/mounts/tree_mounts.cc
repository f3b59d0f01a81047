#include "criu/resource/namespace/mounts/tree_mounts.hh"

#include "criu/kernel/io.hh"
#include "criu/parse/mountinfo.hh"

#include <fcntl.h>
#include <fmt/format.h>

namespace resource {

Result<TreeMounts> tree_mounts(const tree::Namespaces &namespaces) {
    TreeMounts mounts;
    if (!namespaces.root_has_own(tree::NamespaceKind::Mnt))
        return mounts;
    const base::Pid member = namespaces.of_root(tree::NamespaceKind::Mnt)->member;
    mounts.root = fmt::format("/proc/{}/root", member.value);
    const std::string text = TRY(kernel::read_file(AT_FDCWD, fmt::format("/proc/{}/mountinfo", member.value).c_str()));
    for (const parse::Mount &mount : TRY(parse::parse_mountinfo(text)))
        mounts.ids.insert(static_cast<uint32_t>(mount.id));
    return mounts;
}

} // namespace resource
