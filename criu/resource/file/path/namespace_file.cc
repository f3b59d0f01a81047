// Descriptors of namespaces (/proc/PID/ns/NAME): the tree's own, as the root task sees them when it opens files.
#include "criu/resource/file/file.hh"
#include "criu/tree/namespaces.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

namespace resource::namespace_file {
namespace {

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

struct NamespaceKind {
    const char *name;
    uint32_t flag;
    uint32_t number; ///< in images
};

constexpr NamespaceKind kNamespaces[] = {
    {"pid", CLONE_NEWPID, tree::kPidNamespace},    {"net", CLONE_NEWNET, tree::kNetNamespace},
    {"ipc", CLONE_NEWIPC, tree::kIpcNamespace},    {"uts", CLONE_NEWUTS, tree::kUtsNamespace},
    {"time", CLONE_NEWTIME, tree::kTimeNamespace}, {"mnt", CLONE_NEWNS, tree::kMntNamespace},
    {"user", CLONE_NEWUSER, tree::kUserNamespace}, {"cgroup", CLONE_NEWCGROUP, tree::kCgroupNamespace},
};

const NamespaceKind *find(std::string_view link) {
    for (const NamespaceKind &kind : kNamespaces)
        if (link.starts_with(fmt::format("{}:[", kind.name)))
            return &kind;
    return nullptr;
}

bool matches(const OpenFile &file) {
    return S_ISREG(file.stat.st_mode) && find(file.link);
}

bool is_ours(const NamespaceKind &kind, const struct stat &theirs) {
    struct stat ours {};
    return stat(fmt::format("/proc/self/ns/{}", kind.name).c_str(), &ours) == 0 && ours.st_ino == theirs.st_ino &&
           ours.st_dev == theirs.st_dev;
}

Result<void> dump(FileDumpContext &, const OpenFile &file, img::file_entry &entry) {
    const NamespaceKind *kind = find(file.link);
    if (!is_ours(*kind, file.stat))
        return base::unsupported("a namespace that no task of the tree lives in");
    img::ns_file_entry *ns = entry.mutable_nsf();
    ns->set_id(file.id.value);
    ns->set_ns_id(kind->number);
    ns->set_ns_cflag(kind->flag);
    ns->set_flags(file.flags);
    return {};
}

Result<base::UniqueFd> open_file(FileOpenContext &, const img::file_entry &entry) {
    for (const NamespaceKind &kind : kNamespaces) {
        if (kind.flag != entry.nsf().ns_cflag())
            continue;
        base::UniqueFd fd(open(fmt::format("/proc/self/ns/{}", kind.name).c_str(), O_RDONLY | O_CLOEXEC));
        if (!fd)
            return base::fail_sys(fmt::format("open the {} namespace", kind.name));
        return fd;
    }
    return base::bad_image(fmt::format("a namespace of an unknown kind ({:#x})", entry.nsf().ns_cflag()));
}

} // namespace

extern const FileKind kKind{.name = "namespace",
                            .type = img::NS,
                            .about = {.saved = "which of the tree's namespaces it is",
                                      .restored = "the one of the root task",
                                      .limits = "a namespace that no task of the tree lives in is refused"},
                            .matches = matches,
                            .dump = dump,
                            .open = open_file};

} // namespace resource::namespace_file
