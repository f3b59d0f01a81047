#include "criu/dump/ids.hh"

namespace dump {

img::task_kobj_ids_entry ids_entry(const tree::SharedIds &ids) {
    img::task_kobj_ids_entry entry;
    entry.set_vm_id(ids.vm);
    entry.set_files_id(ids.files);
    entry.set_fs_id(ids.fs);
    entry.set_sighand_id(ids.sighand);
    entry.set_pid_ns_id(1);
    entry.set_net_ns_id(2);
    entry.set_ipc_ns_id(3);
    entry.set_uts_ns_id(4);
    entry.set_time_ns_id(5);
    entry.set_mnt_ns_id(6);
    entry.set_user_ns_id(7);
    entry.set_cgroup_ns_id(8);
    return entry;
}

img::task_kobj_ids_entry own_ids_entry() {
    return ids_entry({1, 1, 1, 1});
}

} // namespace dump
