#include "criu/engine/dump/ids.hh"

namespace dump {
namespace {

template <class IdOf> img::task_kobj_ids_entry entry_of(const tree::SharedIds &ids, IdOf id_of) {
    using Kind = tree::NamespaceKind;
    img::task_kobj_ids_entry entry;
    entry.set_vm_id(ids.vm);
    entry.set_files_id(ids.files);
    entry.set_fs_id(ids.fs);
    entry.set_sighand_id(ids.sighand);
    entry.set_pid_ns_id(id_of(Kind::Pid));
    entry.set_net_ns_id(id_of(Kind::Net));
    entry.set_ipc_ns_id(id_of(Kind::Ipc));
    entry.set_uts_ns_id(id_of(Kind::Uts));
    entry.set_mnt_ns_id(id_of(Kind::Mnt));
    entry.set_user_ns_id(id_of(Kind::User));
    // Not every kernel has these: absent then, not 0.
    if (const uint32_t id = id_of(Kind::Time))
        entry.set_time_ns_id(id);
    if (const uint32_t id = id_of(Kind::Cgroup))
        entry.set_cgroup_ns_id(id);
    return entry;
}

} // namespace

img::task_kobj_ids_entry ids_entry(const tree::TaskFacts &task, const tree::Namespaces &namespaces) {
    return entry_of(task.ids, [&](tree::NamespaceKind kind) { return namespaces.id_of(kind, task.ns[kind]); });
}

img::task_kobj_ids_entry host_ids_entry(const tree::Namespaces &namespaces) {
    return entry_of({1, 1, 1, 1}, [&](tree::NamespaceKind kind) { return namespaces.host_id(kind); });
}

} // namespace dump
