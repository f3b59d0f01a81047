// Setters: one for each field, with the caller's own options and with the common ones. No exception may leave a
// function of the library; only memory can be missing.
#include "criu/lib/c/options.hh"

#include <cerrno>
#include <new>
#include <sched.h>

namespace lib {

criu_opts *common = nullptr;
int terminal = -1;

namespace {

/// 0, or -ENOMEM if memory is missing, or -EINVAL without options or a text.
template <class Change> int change(criu_opts *opts, bool valid, Change what) {
    if (!opts || !valid)
        return -EINVAL;
    try {
        what();
        return 0;
    } catch (const std::bad_alloc &) {
        return -ENOMEM;
    }
}

/// Adds a text to a repeated field.
void add_text(criu_opts *opts, const char *text, size_t &count, char **&list) {
    std::vector<char *> all(list, list + count);
    all.push_back(opts->keep(text));
    list = opts->text_lists.emplace_back(std::move(all)).data();
    count++;
}

} // namespace
} // namespace lib

extern "C" {

const char *criu_lib_version = CRIU_VERSION;

int criu_local_init_opts(criu_opts **opts) {
    if (!opts)
        return -EINVAL;
    auto *fresh = new (std::nothrow) criu_opts;
    if (!fresh)
        return -ENOMEM;
    fresh->rpc.images_dir_fd = -1;
    *opts = fresh;
    return 0;
}

void criu_local_free_opts(criu_opts *opts) {
    delete opts;
}

int criu_init_opts(void) {
    criu_free_opts();
    return criu_local_init_opts(&lib::common);
}

void criu_free_opts(void) {
    criu_local_free_opts(lib::common);
    lib::common = nullptr;
}

void criu_free_service(criu_opts *opts) {
    if (opts)
        opts->service.clear();
}

// ---- transport

int criu_local_set_service_address(criu_opts *opts, const char *path) {
    return lib::change(opts, true, [&] {
        opts->service = path ? path : "";
        opts->reached_by = CRIU_COMM_SK;
    });
}
int criu_set_service_address(const char *path) {
    return criu_local_set_service_address(lib::common, path);
}

void criu_local_set_service_fd(criu_opts *opts, int fd) {
    if (!opts)
        return;
    opts->service_fd = fd;
    opts->reached_by = CRIU_COMM_FD;
}
void criu_set_service_fd(int fd) {
    criu_local_set_service_fd(lib::common, fd);
}

int criu_local_set_service_binary(criu_opts *opts, const char *path) {
    return lib::change(opts, true, [&] {
        opts->service = path ? path : "";
        opts->reached_by = CRIU_COMM_BIN;
    });
}
int criu_set_service_binary(const char *path) {
    return criu_local_set_service_binary(lib::common, path);
}

void criu_local_set_notify_cb(criu_opts *opts, int (*cb)(char *action, criu_notify_arg_t na)) {
    if (!opts)
        return;
    opts->notify = cb;
    opts->rpc.has_notify_scripts = opts->rpc.notify_scripts = true;
}
void criu_set_notify_cb(int (*cb)(char *action, criu_notify_arg_t na)) {
    criu_local_set_notify_cb(lib::common, cb);
}

int criu_notify_pid(criu_notify_arg_t na) {
    return na && na->has_pid ? na->pid : 0;
}
int criu_get_orphan_pts_master_fd(void) {
    return lib::terminal;
}

const char *criu_local_get_errmsg(criu_opts *opts) {
    return opts ? opts->message.c_str() : "there are no options: call criu_init_opts() first";
}
const char *criu_get_errmsg(void) {
    return criu_local_get_errmsg(lib::common);
}

// ---- plain fields. The macros make both functions of a pair: only the names of function and field differ.

#define CRIU_NUMBER(name, type)                                                                                        \
    void criu_local_set_##name(criu_opts *opts, type value) {                                                          \
        if (!opts)                                                                                                     \
            return;                                                                                                    \
        opts->rpc.has_##name = true;                                                                                   \
        opts->rpc.name = value;                                                                                        \
    }                                                                                                                  \
    void criu_set_##name(type value) {                                                                                 \
        criu_local_set_##name(lib::common, value);                                                                     \
    }

#define CRIU_TEXT(name, field)                                                                                         \
    int criu_local_set_##name(criu_opts *opts, const char *text) {                                                     \
        return lib::change(opts, text, [&] { opts->rpc.field = opts->keep(text); });                                   \
    }                                                                                                                  \
    int criu_set_##name(const char *text) {                                                                            \
        return criu_local_set_##name(lib::common, text);                                                               \
    }

#define CRIU_LIST(name, field)                                                                                         \
    int criu_local_add_##name(criu_opts *opts, const char *text) {                                                     \
        return lib::change(opts, text, [&] { lib::add_text(opts, text, opts->rpc.n_##field, opts->rpc.field); });      \
    }                                                                                                                  \
    int criu_add_##name(const char *text) {                                                                            \
        return criu_local_add_##name(lib::common, text);                                                               \
    }

CRIU_NUMBER(pid, int)
CRIU_NUMBER(work_dir_fd, int)
CRIU_NUMBER(log_level, int)
CRIU_NUMBER(pidfd_store_sk, int)
CRIU_NUMBER(cpu_cap, unsigned int)
CRIU_NUMBER(timeout, unsigned int)
CRIU_NUMBER(ghost_limit, unsigned int)

CRIU_NUMBER(leave_running, bool)
CRIU_NUMBER(leave_stopped, bool)
CRIU_NUMBER(ext_unix_sk, bool)
CRIU_NUMBER(tcp_established, bool)
CRIU_NUMBER(tcp_skip_in_flight, bool)
CRIU_NUMBER(tcp_close, bool)
CRIU_NUMBER(weak_sysctls, bool)
CRIU_NUMBER(evasive_devices, bool)
CRIU_NUMBER(shell_job, bool)
CRIU_NUMBER(skip_file_rwx_check, bool)
CRIU_NUMBER(unprivileged, bool)
CRIU_NUMBER(orphan_pts_master, bool)
CRIU_NUMBER(file_locks, bool)
CRIU_NUMBER(track_mem, bool)
CRIU_NUMBER(auto_dedup, bool)
CRIU_NUMBER(force_irmap, bool)
CRIU_NUMBER(link_remap, bool)
CRIU_NUMBER(manage_cgroups, bool)
CRIU_NUMBER(auto_ext_mnt, bool)
CRIU_NUMBER(ext_sharing, bool)
CRIU_NUMBER(ext_masters, bool)
CRIU_NUMBER(mntns_compat_mode, bool)
CRIU_NUMBER(lazy_pages, bool)
CRIU_NUMBER(display_stats, bool)
CRIU_NUMBER(log_to_stderr, bool)
CRIU_NUMBER(tls, bool)
CRIU_NUMBER(tls_no_cn_verify, bool)

CRIU_TEXT(parent_images, parent_img)
CRIU_TEXT(log_file, log_file)
CRIU_TEXT(root, root)
CRIU_TEXT(freeze_cgroup, freeze_cgroup)
CRIU_TEXT(lsm_profile, lsm_profile)
CRIU_TEXT(lsm_mount_context, lsm_mount_context)
CRIU_TEXT(config_file, config_file)
CRIU_TEXT(images_dir, images_dir)
CRIU_TEXT(tls_cacert, tls_cacert)
CRIU_TEXT(tls_cacrl, tls_cacrl)
CRIU_TEXT(tls_cert, tls_cert)
CRIU_TEXT(tls_key, tls_key)

CRIU_LIST(enable_fs, enable_fs)
CRIU_LIST(skip_mnt, skip_mnt)
CRIU_LIST(irmap_path, irmap_scan_paths)
CRIU_LIST(external, external)

// ---- fields of their own kind

void criu_local_set_images_dir_fd(criu_opts *opts, int fd) {
    if (opts)
        opts->rpc.images_dir_fd = fd;
}
void criu_set_images_dir_fd(int fd) {
    criu_local_set_images_dir_fd(lib::common, fd);
}

void criu_local_set_empty_ns(criu_opts *opts, int namespaces) {
    if (!opts)
        return;
    opts->rpc.has_empty_ns = true;
    opts->rpc.empty_ns = static_cast<uint32_t>(namespaces);
}
void criu_set_empty_ns(int namespaces) {
    criu_local_set_empty_ns(lib::common, namespaces);
}

int criu_local_add_ext_mount(criu_opts *opts, const char *key, const char *val) {
    return lib::change(opts, key && val, [&] {
        ExtMountMap map = EXT_MOUNT_MAP__INIT;
        map.key = opts->keep(key);
        map.val = opts->keep(val);
        opts->ext_mounts.add(map, opts->rpc.n_ext_mnt, opts->rpc.ext_mnt);
    });
}
int criu_add_ext_mount(const char *key, const char *val) {
    return criu_local_add_ext_mount(lib::common, key, val);
}

int criu_local_add_veth_pair(criu_opts *opts, const char *in, const char *out) {
    return lib::change(opts, in && out, [&] {
        CriuVethPair pair = CRIU_VETH_PAIR__INIT;
        pair.if_in = opts->keep(in);
        pair.if_out = opts->keep(out);
        opts->veths.add(pair, opts->rpc.n_veths, opts->rpc.veths);
    });
}
int criu_add_veth_pair(const char *in, const char *out) {
    return criu_local_add_veth_pair(lib::common, in, out);
}

int criu_local_add_cg_root(criu_opts *opts, const char *ctrl, const char *path) {
    return lib::change(opts, path, [&] {
        CgroupRoot root = CGROUP_ROOT__INIT;
        root.ctrl = ctrl ? opts->keep(ctrl) : nullptr;
        root.path = opts->keep(path);
        opts->cg_roots.add(root, opts->rpc.n_cg_root, opts->rpc.cg_root);
    });
}
int criu_add_cg_root(const char *ctrl, const char *path) {
    return criu_local_add_cg_root(lib::common, ctrl, path);
}

int criu_local_add_inherit_fd(criu_opts *opts, int fd, const char *key) {
    return lib::change(opts, key, [&] {
        InheritFd given = INHERIT_FD__INIT;
        given.fd = fd;
        given.key = opts->keep(key);
        opts->inherit_fds.add(given, opts->rpc.n_inherit_fd, opts->rpc.inherit_fd);
    });
}
int criu_add_inherit_fd(int fd, const char *key) {
    return criu_local_add_inherit_fd(lib::common, fd, key);
}

int criu_local_add_unix_sk(criu_opts *opts, unsigned int inode) {
    return lib::change(opts, true, [&] {
        UnixSk socket = UNIX_SK__INIT;
        socket.inode = inode;
        opts->unix_sockets.add(socket, opts->rpc.n_unix_sk_ino, opts->rpc.unix_sk_ino);
    });
}
int criu_add_unix_sk(unsigned int inode) {
    return criu_local_add_unix_sk(lib::common, inode);
}

int criu_local_join_ns_add(criu_opts *opts, const char *ns, const char *ns_file, const char *extra_opt) {
    return lib::change(opts, ns && ns_file, [&] {
        JoinNamespace join = JOIN_NAMESPACE__INIT;
        join.ns = opts->keep(ns);
        join.ns_file = opts->keep(ns_file);
        join.extra_opt = extra_opt ? opts->keep(extra_opt) : nullptr;
        opts->joins.add(join, opts->rpc.n_join_ns, opts->rpc.join_ns);
    });
}
int criu_join_ns_add(const char *ns, const char *ns_file, const char *extra_opt) {
    return criu_local_join_ns_add(lib::common, ns, ns_file, extra_opt);
}

int criu_local_set_page_server_address_port(criu_opts *opts, const char *address, int port) {
    return lib::change(opts, address, [&] {
        opts->page_server.address = opts->keep(address);
        opts->page_server.has_port = true;
        opts->page_server.port = port;
        opts->rpc.ps = &opts->page_server;
    });
}
int criu_set_page_server_address_port(const char *address, int port) {
    return criu_local_set_page_server_address_port(lib::common, address, port);
}

int criu_local_set_exec_cmd(criu_opts *opts, int argc, char *argv[]) {
    return lib::change(opts, argc >= 0 && argv, [&] {
        opts->rpc.n_exec_cmd = 0;
        opts->rpc.exec_cmd = nullptr;
        for (int i = 0; i < argc; i++)
            lib::add_text(opts, argv[i] ? argv[i] : "", opts->rpc.n_exec_cmd, opts->rpc.exec_cmd);
    });
}
int criu_set_exec_cmd(int argc, char *argv[]) {
    return criu_local_set_exec_cmd(lib::common, argc, argv);
}

void criu_local_set_manage_cgroups_mode(criu_opts *opts, enum criu_cg_mode mode) {
    if (!opts)
        return;
    opts->rpc.has_manage_cgroups_mode = true;
    opts->rpc.manage_cgroups_mode = static_cast<CriuCgMode>(mode);
}
void criu_set_manage_cgroups_mode(enum criu_cg_mode mode) {
    criu_local_set_manage_cgroups_mode(lib::common, mode);
}

int criu_local_set_pre_dump_mode(criu_opts *opts, enum criu_pre_dump_mode mode) {
    if (!opts || (mode != CRIU_PRE_DUMP_SPLICE && mode != CRIU_PRE_DUMP_READ))
        return -1;
    opts->rpc.has_pre_dump_mode = true;
    opts->rpc.pre_dump_mode = static_cast<CriuPreDumpMode>(mode);
    return 0;
}
int criu_set_pre_dump_mode(enum criu_pre_dump_mode mode) {
    return criu_local_set_pre_dump_mode(lib::common, mode);
}

int criu_local_set_network_lock(criu_opts *opts, enum criu_network_lock_method method) {
    if (!opts || method < CRIU_NETWORK_LOCK_IPTABLES || method > CRIU_NETWORK_LOCK_SKIP)
        return -1;
    opts->rpc.has_network_lock = true;
    opts->rpc.network_lock = static_cast<CriuNetworkLockMethod>(method);
    return 0;
}
int criu_set_network_lock(enum criu_network_lock_method method) {
    return criu_local_set_network_lock(lib::common, method);
}

// ---- only with options of the caller's own, as in CRIU's library

int criu_local_add_cg_props(criu_opts *opts, const char *text) {
    return lib::change(opts, text, [&] { opts->rpc.cgroup_props = opts->keep(text); });
}
int criu_local_add_cg_props_file(criu_opts *opts, const char *text) {
    return lib::change(opts, text, [&] { opts->rpc.cgroup_props_file = opts->keep(text); });
}
int criu_local_add_cg_dump_controller(criu_opts *opts, const char *text) {
    return lib::change(opts, text, [&] {
        lib::add_text(opts, text, opts->rpc.n_cgroup_dump_controller, opts->rpc.cgroup_dump_controller);
    });
}
int criu_local_add_cg_yard(criu_opts *opts, const char *text) {
    return lib::change(opts, text, [&] { opts->rpc.cgroup_yard = opts->keep(text); });
}

} // extern "C"
