// IPC namespaces: limits, and the System V objects, which live without any process. POSIX message queues that are open
// somewhere in the tree are files (file/mqueue).
#include "criu/resource/namespace/ipc/ipc.hh"

#include "criu/kernel/namespaces.hh"
#include "criu/resource/namespace/kinds.hh"

#include <fcntl.h>
#include <fmt/format.h>

namespace resource::ipc {

void describe(const ipc_perm &perm, int id, img::ipc_desc_entry *desc) {
    desc->set_key(static_cast<uint32_t>(perm.__key));
    desc->set_uid(perm.uid);
    desc->set_gid(perm.gid);
    desc->set_cuid(perm.cuid);
    desc->set_cgid(perm.cgid);
    desc->set_mode(perm.mode);
    desc->set_id(static_cast<uint32_t>(id));
}

std::string name_of(const char *what, const img::ipc_desc_entry &desc) {
    return fmt::format("{} {} (key {:#x})", what, desc.id(), desc.key());
}

Result<void> ask_for_id(const char *sysctl, uint32_t id) {
    return kernel::write_file(AT_FDCWD, fmt::format("/proc/sys/kernel/{}", sysctl).c_str(), std::to_string(id));
}

} // namespace resource::ipc

namespace resource::ipc_namespace {

Result<void> dump(NamespaceDumpContext &context, const tree::Namespace &ns) {
    const base::UniqueFd fd = TRY(kernel::open_namespace(ns.member, ns.kind));
    return kernel::inside(std::array{fd.get()}, [&]() -> Result<void> {
        TRY(ipc::dump_variables(context, ns.id));
        TRY(ipc::dump_segments(context, ns.id));
        TRY(ipc::dump_semaphores(context, ns.id));
        return ipc::dump_messages(context, ns.id);
    });
}

// The limits first: they may be what the objects need.
Result<void> fill(NamespaceFillContext &context) {
    TRY(ipc::fill_variables(context));
    TRY(ipc::fill_segments(context));
    TRY(ipc::fill_semaphores(context));
    return ipc::fill_messages(context);
}

} // namespace resource::ipc_namespace
