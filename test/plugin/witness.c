/* A plugin for tests. It takes over /dev/fuse and stream sockets that are connected to the outside, and notes in the image
 * directory when it was called: a line per moment, with the task if there is one.
 */
#include <criu/criu-plugin.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

/* Not in the header, as in CRIU, but there for its plugins. */
int add_inventory_plugin(const char *name) __attribute__((weak));
int check_and_remove_inventory_plugin(const char *name, size_t length) __attribute__((weak));

static bool asked_before;

static void note(const char *moment, int pid)
{
    char line[100];
    int length = snprintf(line, sizeof line, "%s %d\n", moment, pid);
    int fd = openat(criu_get_image_dir(), "witness.txt", O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0 || write(fd, line, (size_t)length) != length)
        perror("witness");
    close(fd);
}

static int keep(const char *kind, int id, const void *data, size_t size)
{
    char name[64];
    snprintf(name, sizeof name, "witness-%s-%d", kind, id);
    int fd = openat(criu_get_image_dir(), name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        return -EIO;
    return close(fd);
}

static int kept(const char *kind, int id, void *data, size_t size)
{
    char name[64];
    snprintf(name, sizeof name, "witness-%s-%d", kind, id);
    int fd = openat(criu_get_image_dir(), name, O_RDONLY);
    if (fd < 0)
        return -ENOTSUP;
    ssize_t n = read(fd, data, size);
    close(fd);
    return n == (ssize_t)size ? 0 : -EIO;
}

static int dump_file(int fd, int id)
{
    struct stat st;
    if (fstat(fd, &st) || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(10, 229))
        return -ENOTSUP;
    int flags = fcntl(fd, F_GETFL);
    return keep("file", id, &flags, sizeof flags);
}

/* The first call has nothing to give yet: the program must call again. */
static int restore_file(int id, bool *retry)
{
    int flags;
    int error = kept("file", id, &flags, sizeof flags);
    if (error)
        return error;
    *retry = !asked_before;
    asked_before = true;
    return *retry ? 0 : open("/dev/fuse", flags & (O_ACCMODE | O_NONBLOCK));
}

static int dump_socket(int fd, int id)
{
    struct sockaddr_un peer = { 0 };
    socklen_t length = sizeof peer;
    if (getpeername(fd, (struct sockaddr *)&peer, &length) || !peer.sun_path[0])
        return -ENOTSUP;
    return keep("socket", id, &peer, sizeof peer);
}

static int restore_socket(int id)
{
    struct sockaddr_un peer;
    int error = kept("socket", id, &peer, sizeof peer);
    int fd = error ? error : socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&peer, sizeof peer))
        return -errno;
    return fd;
}

static int pause_task(int pid) { note("pause", pid); return 0; }
static int checkpoint_task(int pid) { note("checkpoint", pid); return 0; }
static int dump_late(int pid) { note("late", pid); return 0; }
static int resume_task(int pid) { note("resume", pid); return 0; }
static int restore_init(void) { note("init", 0); return 0; }
static int post_forking(void) { note("forked", 0); return 0; }

static int start(int stage)
{
    note("start", stage);
    if (stage == CR_PLUGIN_STAGE__DUMP && add_inventory_plugin)
        return add_inventory_plugin("witness");
    if (stage == CR_PLUGIN_STAGE__RESTORE && check_and_remove_inventory_plugin)
        return check_and_remove_inventory_plugin("witness", sizeof "witness");
    return 0;
}

static void end(int stage, int ret) { note(ret ? "failed" : "succeeded", stage); }

CR_PLUGIN_REGISTER("witness", start, end)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__DUMP_EXT_FILE, dump_file)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__RESTORE_EXT_FILE, restore_file)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__DUMP_UNIX_SK, dump_socket)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__RESTORE_UNIX_SK, restore_socket)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__PAUSE_DEVICES, pause_task)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__CHECKPOINT_DEVICES, checkpoint_task)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__DUMP_DEVICES_LATE, dump_late)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__RESUME_DEVICES_LATE, resume_task)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__RESTORE_INIT, restore_init)
CR_PLUGIN_REGISTER_HOOK(CR_PLUGIN_HOOK__POST_FORKING, post_forking)
