/* libcriu: checkpoint and restore from C. The interface is that of CRIU 4.2's library (libcriu.so.2), with additions at
 * the end; libcriu(3) says more.
 *
 * There is one set of options for programs that need no more: criu_init_opts() makes it, criu_set_*() and criu_add_*()
 * change it. Each function has a twin criu_local_*() with options of the caller's own; these may be used by different
 * threads at the same time.
 *
 * Functions that return int return 0 or what their comment says, and a negative number on failure:
 *   -EBADE         criu has answered that the request failed; errno is its number for the reason, criu_get_errmsg()
 *                  the reason in words
 *   -ECONNREFUSED  no connection to criu
 *   -ECOMM         the connection broke
 *   -EINVAL        criu does not know the request, or an argument makes no sense
 *   -EBADMSG       an answer to something else
 *   -ENOMEM        no memory */
#ifndef CRIU_LIB_H
#define CRIU_LIB_H

#include <stdbool.h>
#include <stddef.h>

#include "rpc.pb-c.h"
#include "version.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CRIU_LOG_UNSET (-1)
#define CRIU_LOG_MSG (0)   /* nothing but messages */
#define CRIU_LOG_ERROR (1) /* errors */
#define CRIU_LOG_WARN (2)  /* and warnings: the default */
#define CRIU_LOG_INFO (3)  /* and what is done */
#define CRIU_LOG_DEBUG (4) /* and everything else */

/* How criu is reached: by a service's socket, by an open socket, or by starting the program. */
enum criu_service_comm { CRIU_COMM_SK, CRIU_COMM_FD, CRIU_COMM_BIN };

enum criu_cg_mode {
    CRIU_CG_MODE_IGNORE,
    CRIU_CG_MODE_NONE,
    CRIU_CG_MODE_PROPS,
    CRIU_CG_MODE_SOFT,
    CRIU_CG_MODE_FULL,
    CRIU_CG_MODE_STRICT,
    CRIU_CG_MODE_DEFAULT
};

enum criu_network_lock_method {
    CRIU_NETWORK_LOCK_IPTABLES = 1,
    CRIU_NETWORK_LOCK_NFTABLES = 2,
    CRIU_NETWORK_LOCK_SKIP = 3
};

enum criu_pre_dump_mode { CRIU_PRE_DUMP_SPLICE = 1, CRIU_PRE_DUMP_READ = 2 };

typedef struct criu_opts criu_opts; /* a client's options */
typedef CriuNotify *criu_notify_arg_t;
typedef void *criu_predump_info;

/* Kernel features to ask for; the answers replace the questions. */
struct criu_feature_check {
    bool mem_track;
    bool lazy_pages;
    bool pidfd_store;
};

extern const char *criu_lib_version;

/* ---- lifetime. criu_init_opts() again frees the options before. */
int criu_init_opts(void);
void criu_free_opts(void);
int criu_local_init_opts(criu_opts **opts);
void criu_local_free_opts(criu_opts *opts);
void criu_free_service(criu_opts *opts);

/* ---- transport. Without any of them criu is started from PATH. */
int criu_set_service_address(const char *path);
void criu_set_service_fd(int fd);
int criu_set_service_binary(const char *path);
int criu_local_set_service_address(criu_opts *opts, const char *path);
void criu_local_set_service_fd(criu_opts *opts, int fd);
int criu_local_set_service_binary(criu_opts *opts, const char *path);

/* ---- notifications. The callback returns 0 for yes; anything else refuses, and the request fails. */
void criu_set_notify_cb(int (*cb)(char *action, criu_notify_arg_t na));
void criu_local_set_notify_cb(criu_opts *opts, int (*cb)(char *action, criu_notify_arg_t na));
int criu_notify_pid(criu_notify_arg_t na); /* pid of the root task, or 0 */
int criu_get_orphan_pts_master_fd(void);   /* at the notification of that name */

/* ---- requests */
int criu_check(void);
int criu_dump(void);          /* 0; 1 in a caller who has dumped itself and was restored */
int criu_pre_dump(void);
int criu_restore(void);       /* pid of the root task */
int criu_restore_child(void); /* the same; the root task is a child of the caller */
/* A pre-dump for each positive answer of `more`, a dump at 0; a negative answer is returned. */
int criu_dump_iters(int (*more)(criu_predump_info pi));
int criu_get_version(void);                /* major * 10000 + minor * 100 + sublevel; of an unreleased one the next minor */
int criu_check_version(int minimum);       /* 1 if criu is at least so new, 0 if not */
/* -1 if `size` is larger than the structure that the library knows */
int criu_feature_check(struct criu_feature_check *features, size_t size);

int criu_local_check(criu_opts *opts);
int criu_local_dump(criu_opts *opts);
int criu_local_pre_dump(criu_opts *opts);
int criu_local_restore(criu_opts *opts);
int criu_local_restore_child(criu_opts *opts);
int criu_local_dump_iters(criu_opts *opts, int (*more)(criu_predump_info pi));
int criu_local_get_version(criu_opts *opts);
int criu_local_check_version(criu_opts *opts, int minimum);
int criu_local_feature_check(criu_opts *opts, struct criu_feature_check *features, size_t size);

/* ---- options: see the option of the same name in criu(8) */
void criu_set_pid(int pid);
void criu_set_images_dir_fd(int fd);
void criu_set_work_dir_fd(int fd);
void criu_set_log_level(int log_level);
void criu_set_pidfd_store_sk(int fd);
void criu_set_empty_ns(int namespaces);
void criu_set_cpu_cap(unsigned int cap);
void criu_set_timeout(unsigned int seconds);
void criu_set_ghost_limit(unsigned int bytes);
void criu_set_leave_running(bool on);
void criu_set_ext_unix_sk(bool on);
void criu_set_tcp_established(bool on);
void criu_set_tcp_skip_in_flight(bool on);
void criu_set_tcp_close(bool on);
void criu_set_weak_sysctls(bool on);
void criu_set_evasive_devices(bool on);
void criu_set_shell_job(bool on);
void criu_set_skip_file_rwx_check(bool on);
void criu_set_orphan_pts_master(bool on);
void criu_set_file_locks(bool on);
void criu_set_track_mem(bool on);
void criu_set_auto_dedup(bool on);
void criu_set_force_irmap(bool on);
void criu_set_link_remap(bool on);
void criu_set_manage_cgroups(bool on);
void criu_set_auto_ext_mnt(bool on);
void criu_set_ext_sharing(bool on);
void criu_set_ext_masters(bool on);
void criu_set_mntns_compat_mode(bool on);
void criu_set_unprivileged(bool on);
int criu_set_parent_images(const char *text);
int criu_set_log_file(const char *text);
int criu_set_root(const char *text);
int criu_set_freeze_cgroup(const char *text);
int criu_set_lsm_profile(const char *text);
int criu_set_lsm_mount_context(const char *text);
int criu_set_config_file(const char *text);
int criu_add_enable_fs(const char *text);
int criu_add_skip_mnt(const char *text);
int criu_add_irmap_path(const char *text);
int criu_add_external(const char *text);
int criu_add_ext_mount(const char *key, const char *val);
int criu_add_veth_pair(const char *in, const char *out);
int criu_add_cg_root(const char *ctrl, const char *path);
int criu_add_inherit_fd(int fd, const char *key);
int criu_add_unix_sk(unsigned int inode);
int criu_join_ns_add(const char *ns, const char *ns_file, const char *extra_opt);
int criu_set_page_server_address_port(const char *address, int port);
int criu_set_exec_cmd(int argc, char *argv[]);
void criu_set_manage_cgroups_mode(enum criu_cg_mode mode);
int criu_set_pre_dump_mode(enum criu_pre_dump_mode mode);
int criu_set_network_lock(enum criu_network_lock_method method);

void criu_local_set_pid(criu_opts *opts, int pid);
void criu_local_set_images_dir_fd(criu_opts *opts, int fd);
void criu_local_set_work_dir_fd(criu_opts *opts, int fd);
void criu_local_set_log_level(criu_opts *opts, int log_level);
void criu_local_set_pidfd_store_sk(criu_opts *opts, int fd);
void criu_local_set_empty_ns(criu_opts *opts, int namespaces);
void criu_local_set_cpu_cap(criu_opts *opts, unsigned int cap);
void criu_local_set_timeout(criu_opts *opts, unsigned int seconds);
void criu_local_set_ghost_limit(criu_opts *opts, unsigned int bytes);
void criu_local_set_leave_running(criu_opts *opts, bool on);
void criu_local_set_ext_unix_sk(criu_opts *opts, bool on);
void criu_local_set_tcp_established(criu_opts *opts, bool on);
void criu_local_set_tcp_skip_in_flight(criu_opts *opts, bool on);
void criu_local_set_tcp_close(criu_opts *opts, bool on);
void criu_local_set_weak_sysctls(criu_opts *opts, bool on);
void criu_local_set_evasive_devices(criu_opts *opts, bool on);
void criu_local_set_shell_job(criu_opts *opts, bool on);
void criu_local_set_skip_file_rwx_check(criu_opts *opts, bool on);
void criu_local_set_orphan_pts_master(criu_opts *opts, bool on);
void criu_local_set_file_locks(criu_opts *opts, bool on);
void criu_local_set_track_mem(criu_opts *opts, bool on);
void criu_local_set_auto_dedup(criu_opts *opts, bool on);
void criu_local_set_force_irmap(criu_opts *opts, bool on);
void criu_local_set_link_remap(criu_opts *opts, bool on);
void criu_local_set_manage_cgroups(criu_opts *opts, bool on);
void criu_local_set_auto_ext_mnt(criu_opts *opts, bool on);
void criu_local_set_ext_sharing(criu_opts *opts, bool on);
void criu_local_set_ext_masters(criu_opts *opts, bool on);
void criu_local_set_mntns_compat_mode(criu_opts *opts, bool on);
void criu_local_set_unprivileged(criu_opts *opts, bool on);
int criu_local_set_parent_images(criu_opts *opts, const char *text);
int criu_local_set_log_file(criu_opts *opts, const char *text);
int criu_local_set_root(criu_opts *opts, const char *text);
int criu_local_set_freeze_cgroup(criu_opts *opts, const char *text);
int criu_local_set_lsm_profile(criu_opts *opts, const char *text);
int criu_local_set_lsm_mount_context(criu_opts *opts, const char *text);
int criu_local_set_config_file(criu_opts *opts, const char *text);
int criu_local_add_enable_fs(criu_opts *opts, const char *text);
int criu_local_add_skip_mnt(criu_opts *opts, const char *text);
int criu_local_add_irmap_path(criu_opts *opts, const char *text);
int criu_local_add_external(criu_opts *opts, const char *text);
int criu_local_add_ext_mount(criu_opts *opts, const char *key, const char *val);
int criu_local_add_veth_pair(criu_opts *opts, const char *in, const char *out);
int criu_local_add_cg_root(criu_opts *opts, const char *ctrl, const char *path);
int criu_local_add_inherit_fd(criu_opts *opts, int fd, const char *key);
int criu_local_add_unix_sk(criu_opts *opts, unsigned int inode);
int criu_local_join_ns_add(criu_opts *opts, const char *ns, const char *ns_file, const char *extra_opt);
int criu_local_set_page_server_address_port(criu_opts *opts, const char *address, int port);
int criu_local_set_exec_cmd(criu_opts *opts, int argc, char *argv[]);
void criu_local_set_manage_cgroups_mode(criu_opts *opts, enum criu_cg_mode mode);
int criu_local_set_pre_dump_mode(criu_opts *opts, enum criu_pre_dump_mode mode);
int criu_local_set_network_lock(criu_opts *opts, enum criu_network_lock_method method);
int criu_local_add_cg_props(criu_opts *opts, const char *text);
int criu_local_add_cg_props_file(criu_opts *opts, const char *text);
int criu_local_add_cg_dump_controller(criu_opts *opts, const char *text);
int criu_local_add_cg_yard(criu_opts *opts, const char *text);

/* ---- what CRIU 4.2's library lacks */
const char *criu_get_errmsg(void); /* why the last request failed, with what to do; never null */
const char *criu_local_get_errmsg(criu_opts *opts);
void criu_set_leave_stopped(bool on);
void criu_set_lazy_pages(bool on);
void criu_set_display_stats(bool on);
void criu_set_log_to_stderr(bool on);
void criu_set_tls(bool on);
void criu_set_tls_no_cn_verify(bool on);
int criu_set_images_dir(const char *text);
int criu_set_tls_cacert(const char *text);
int criu_set_tls_cacrl(const char *text);
int criu_set_tls_cert(const char *text);
int criu_set_tls_key(const char *text);
void criu_local_set_leave_stopped(criu_opts *opts, bool on);
void criu_local_set_lazy_pages(criu_opts *opts, bool on);
void criu_local_set_display_stats(criu_opts *opts, bool on);
void criu_local_set_log_to_stderr(criu_opts *opts, bool on);
void criu_local_set_tls(criu_opts *opts, bool on);
void criu_local_set_tls_no_cn_verify(criu_opts *opts, bool on);
int criu_local_set_images_dir(criu_opts *opts, const char *text);
int criu_local_set_tls_cacert(criu_opts *opts, const char *text);
int criu_local_set_tls_cacrl(criu_opts *opts, const char *text);
int criu_local_set_tls_cert(criu_opts *opts, const char *text);
int criu_local_set_tls_key(criu_opts *opts, const char *text);

#ifdef __cplusplus
}
#endif

#endif
