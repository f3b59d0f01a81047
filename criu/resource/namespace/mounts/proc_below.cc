#include "criu/resource/namespace/mounts/proc_below.hh"

#include "base/unique_fd.hh"
#include "criu/kernel/io.hh"
#include "criu/kernel/mount_of.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

namespace resource::mounts {
namespace {

/// The namespace of the init that it shows; 0 where it does not show that, or something lies on it.
uint64_t shown_by(base::Pid member, const parse::Mount &mount) {
    const std::string path = fmt::format("/proc/{}/root{}", member.value, mount.mount_point);
    const base::UniqueFd root(open(path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    const auto id = root ? kernel::mount_of(root.get()) : base::Result<uint32_t>(0u);
    struct stat init {};
    if (!id || *id != static_cast<uint32_t>(mount.id) || fstatat(root.get(), "1/ns/pid", &init, 0) < 0)
        return 0;
    return init.st_ino;
}

} // namespace

void find_proc_below(const tree::Namespaces &namespaces, base::Pid member, const std::vector<parse::Mount> &mounts,
                     ProcBelow &known) {
    for (const parse::Mount &mount : mounts) {
        if (mount.fs_type != "proc" || mount.root != "/")
            continue;
        const tree::Namespace *shown = namespaces.find(tree::NamespaceKind::Pid, shown_by(member, mount));
        if (shown && shown->origin == tree::NamespaceOrigin::Ours &&
            shown->id != namespaces.root_id(tree::NamespaceKind::Pid))
            known[mount.dev_major << 20 | mount.dev_minor] = shown->id;
    }
}

Result<ProcBelow> find_proc_below(const tree::Namespaces &namespaces) {
    ProcBelow known;
    for (const tree::Namespace &ns : namespaces.all())
        if (ns.kind == tree::NamespaceKind::Mnt && ns.origin == tree::NamespaceOrigin::Ours)
            find_proc_below(namespaces, ns.member,
                            TRY(parse::parse_mountinfo(TRY(kernel::read_file(
                                AT_FDCWD, fmt::format("/proc/{}/mountinfo", ns.member.value).c_str())))),
                            known);
    return known;
}

} // namespace resource::mounts
