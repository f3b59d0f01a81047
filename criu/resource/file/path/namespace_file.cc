// Descriptors of namespaces (/proc/PID/ns/NAME): the tree's own, as the root task sees them when it opens files.
#include "criu/kernel/namespaces.hh"
#include "criu/resource/file/file.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <optional>
#include <unistd.h>

namespace resource::namespace_file {
namespace {

std::optional<tree::NamespaceKind> kind_of(std::string_view link) {
    for (tree::NamespaceKind kind : tree::kAllNamespaceKinds)
        if (link.starts_with(fmt::format("{}:[", kernel::name_of(kind))))
            return kind;
    return std::nullopt;
}

bool matches(const OpenFile &file) {
    return S_ISREG(file.stat.st_mode) && kind_of(file.link).has_value();
}

Result<void> dump(FileDumpContext &context, const OpenFile &file, img::file_entry &entry) {
    const tree::NamespaceKind kind = *kind_of(file.link);
    const uint32_t number = context.namespaces.id_of(kind, file.stat.st_ino);
    if (!number)
        return base::unsupported("a namespace that no task of the tree lives in");
    if (kind == tree::NamespaceKind::Pid && number != context.namespaces.root_id(kind) &&
        number != context.namespaces.host_id(kind))
        return base::unsupported("a pid namespace that only tasks below the root live in, and that is there later than "
                                 "open files");
    if (kind == tree::NamespaceKind::Time && std::ranges::any_of(context.tasks, [&](const tree::TaskFacts &task) {
            return task.ns.time_for_children == file.stat.st_ino && task.ns[kind] != file.stat.st_ino;
        }))
        return base::unsupported("the time namespace of a task's children, which is there later than open files");
    img::ns_file_entry *ns = entry.mutable_nsf();
    ns->set_id(file.id.value);
    ns->set_ns_id(number);
    ns->set_ns_cflag(static_cast<uint32_t>(kernel::clone_flag_of(kind)));
    ns->set_flags(file.flags);
    return {};
}

Result<base::UniqueFd> open_file(FileOpenContext &context, const img::file_entry &entry) {
    if (const auto other = context.namespaces.find(entry.nsf().ns_id()); other != context.namespaces.end()) {
        base::UniqueFd fd(open(fmt::format("/proc/self/fd/{}", other->second.get()).c_str(), O_RDONLY | O_CLOEXEC));
        return fd ? Result<base::UniqueFd>(std::move(fd)) : base::fail_sys("open a namespace of the tree");
    }
    for (tree::NamespaceKind kind : tree::kAllNamespaceKinds)
        if (kernel::clone_flag_of(kind) == entry.nsf().ns_cflag())
            return kernel::open_namespace(base::Pid(getpid()), kind);
    return base::bad_image(fmt::format("a namespace of an unknown kind ({:#x})", entry.nsf().ns_cflag()));
}

} // namespace

extern const FileKind kKind{.name = "namespace",
                            .type = img::NS,
                            .about = {.saved = "which of the tree's namespaces it is",
                                      .restored = "that of the root task, or of a task below it",
                                      .limits = "a namespace that no task of the tree lives in, and a pid namespace "
                                                "that only tasks below the root live in, are refused"},
                            .matches = matches,
                            .dump = dump,
                            .open = open_file};

} // namespace resource::namespace_file
