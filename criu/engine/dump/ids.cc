#include "criu/engine/dump/ids.hh"

#include "criu/tree/namespaces.hh"

namespace dump {

img::task_kobj_ids_entry ids_entry(const tree::SharedIds &ids) {
    img::task_kobj_ids_entry entry;
    entry.set_vm_id(ids.vm);
    entry.set_files_id(ids.files);
    entry.set_fs_id(ids.fs);
    entry.set_sighand_id(ids.sighand);
    entry.set_pid_ns_id(tree::kPidNamespace);
    entry.set_net_ns_id(tree::kNetNamespace);
    entry.set_ipc_ns_id(tree::kIpcNamespace);
    entry.set_uts_ns_id(tree::kUtsNamespace);
    entry.set_time_ns_id(tree::kTimeNamespace);
    entry.set_mnt_ns_id(tree::kMntNamespace);
    entry.set_user_ns_id(tree::kUserNamespace);
    entry.set_cgroup_ns_id(tree::kCgroupNamespace);
    return entry;
}

img::task_kobj_ids_entry own_ids_entry() {
    return ids_entry({1, 1, 1, 1});
}

} // namespace dump
