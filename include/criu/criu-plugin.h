/* The interface of plugins: shared libraries that save and restore what only their authors know.
 *
 * `criu dump -L DIR` and `criu restore -L DIR` load every *.so of DIR. The interface is that of CRIU 4.2, names, numbers
 * and layout: a plugin that was built for one works with the other.
 *
 * A hook returns 0 or a descriptor, -ENOTSUP if the object is not its own (then the next plugin is asked), or another
 * negative errno, which ends the command.
 *
 * Called by this program: DUMP_UNIX_SK, RESTORE_UNIX_SK, DUMP_EXT_FILE, RESTORE_EXT_FILE, and all that stand for a moment
 * (PAUSE_DEVICES, CHECKPOINT_DEVICES, DUMP_DEVICES_LATE, RESTORE_INIT, POST_FORKING, RESUME_DEVICES_LATE). Not called yet:
 * DUMP_EXT_MOUNT, RESTORE_EXT_MOUNT, DUMP_EXT_LINK, HANDLE_DEVICE_VMA, UPDATE_VMA_MAP; what they are for is refused by name.
 */
#ifndef CRIU_PLUGIN_H
#define CRIU_PLUGIN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#define CRIU_PLUGIN_GEN_VERSION(major, minor, sublevel) (((major) << 16) + ((minor) << 8) + (sublevel))
#define CRIU_PLUGIN_VERSION_MAJOR 0
#define CRIU_PLUGIN_VERSION_MINOR 2
#define CRIU_PLUGIN_VERSION_SUBLEVEL 0
#define CRIU_PLUGIN_VERSION \
    CRIU_PLUGIN_GEN_VERSION(CRIU_PLUGIN_VERSION_MAJOR, CRIU_PLUGIN_VERSION_MINOR, CRIU_PLUGIN_VERSION_SUBLEVEL)

enum {
    CR_PLUGIN_HOOK__DUMP_UNIX_SK,         /* a socket whose peer is outside of the tree; id: its inode */
    CR_PLUGIN_HOOK__RESTORE_UNIX_SK,      /* returns a descriptor */
    CR_PLUGIN_HOOK__DUMP_EXT_FILE,        /* a file that would be refused; id: the one RESTORE_EXT_FILE will get */
    CR_PLUGIN_HOOK__RESTORE_EXT_FILE,     /* returns a descriptor; or sets *retry, to be called when other files are open */
    CR_PLUGIN_HOOK__DUMP_EXT_MOUNT,
    CR_PLUGIN_HOOK__RESTORE_EXT_MOUNT,
    CR_PLUGIN_HOOK__DUMP_EXT_LINK,
    CR_PLUGIN_HOOK__HANDLE_DEVICE_VMA,
    CR_PLUGIN_HOOK__UPDATE_VMA_MAP,
    CR_PLUGIN_HOOK__RESUME_DEVICES_LATE,  /* of each task, complete and about to run */
    CR_PLUGIN_HOOK__PAUSE_DEVICES,        /* of each task, before it is stopped */
    CR_PLUGIN_HOOK__CHECKPOINT_DEVICES,   /* of each task, once it is stopped */
    CR_PLUGIN_HOOK__POST_FORKING,         /* the restored tree has begun to exist */
    CR_PLUGIN_HOOK__RESTORE_INIT,         /* nothing exists yet */
    CR_PLUGIN_HOOK__DUMP_DEVICES_LATE,    /* of each task, when all images but the inventory are complete */
    CR_PLUGIN_HOOK__MAX
};

#define DECLARE_PLUGIN_HOOK_ARGS(hook, ...) typedef int(hook##_t)(__VA_ARGS__)
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__DUMP_UNIX_SK, int fd, int id);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__RESTORE_UNIX_SK, int id);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__DUMP_EXT_FILE, int fd, int id);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__RESTORE_EXT_FILE, int id, bool *retry);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__DUMP_EXT_MOUNT, char *mountpoint, int id);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__RESTORE_EXT_MOUNT, int id, char *mountpoint, char *old_root, int *is_file);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__DUMP_EXT_LINK, int index, int type, char *kind);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__HANDLE_DEVICE_VMA, int fd, const struct stat *stat);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__UPDATE_VMA_MAP, const char *path, const uint64_t address,
                         const uint64_t old_offset, uint64_t *new_offset, int *plugin_fd);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__RESUME_DEVICES_LATE, int pid);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__PAUSE_DEVICES, int pid);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__CHECKPOINT_DEVICES, int pid);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__POST_FORKING, void);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__RESTORE_INIT, void);
DECLARE_PLUGIN_HOOK_ARGS(CR_PLUGIN_HOOK__DUMP_DEVICES_LATE, int pid);

enum {
    CR_PLUGIN_STAGE__DUMP,
    CR_PLUGIN_STAGE__PRE_DUMP,
    CR_PLUGIN_STAGE__RESTORE,
    CR_PLUGIN_STAGE_MAX
};

typedef struct {
    const char *name;
    int (*init)(int stage);           /* another result than 0 ends the command */
    void (*exit)(int stage, int ret); /* ret: 0 if the command has succeeded */
    unsigned int version;
    unsigned int max_hooks;
    void *hooks[CR_PLUGIN_HOOK__MAX];
} cr_plugin_desc_t;

extern cr_plugin_desc_t CR_PLUGIN_DESC;

#define CR_PLUGIN_REGISTER(plugin_name, plugin_init, plugin_exit) \
    cr_plugin_desc_t CR_PLUGIN_DESC = {                           \
        .name = plugin_name,                                      \
        .init = plugin_init,                                      \
        .exit = plugin_exit,                                      \
        .version = CRIU_PLUGIN_VERSION,                           \
        .max_hooks = CR_PLUGIN_HOOK__MAX,                         \
    };

#define CR_PLUGIN_REGISTER_DUMMY(plugin_name) CR_PLUGIN_REGISTER(plugin_name, 0, 0)

#define CR_PLUGIN_REGISTER_HOOK(hook, function)                                        \
    static void __attribute__((constructor)) cr_plugin_register_hook_##function(void)  \
    {                                                                                  \
        CR_PLUGIN_DESC.hooks[hook] = (void *)function;                                 \
    }

/* A descriptor of the image directory. */
extern int criu_get_image_dir(void);

#endif
