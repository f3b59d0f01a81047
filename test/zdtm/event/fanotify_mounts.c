/* fanotify: marks on a whole file system and on a directory, with events of directories and children, in a group that
 * reports file ids instead of descriptors. */
#include "zdtm.h"

#include <sys/fanotify.h>
#include <sys/mount.h>

static uint64_t masks(int fd) {
    static union {
        struct fanotify_event_metadata event;
        char bytes[4096];
    } buffer;
    ssize_t length = read(fd, &buffer, sizeof(buffer));
    uint64_t all = 0;
    struct fanotify_event_metadata *event = &buffer.event;
    for (; length > 0 && FAN_EVENT_OK(event, length); event = FAN_EVENT_NEXT(event, length)) {
        all |= event->mask;
        if (event->fd >= 0)
            close(event->fd);
    }
    return all;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(mkdir(test_dirname, 0755));
    must(mkdir("other", 0755));
    /* /proc is a mount that nothing else of the test opens files of for writing. */
    int mount_group = must(fanotify_init(FAN_NONBLOCK | FAN_CLASS_CONTENT, O_RDONLY));
    must(fanotify_mark(mount_group, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_CLOSE_WRITE, AT_FDCWD, "/proc"));
    int ids = must(fanotify_init(FAN_NONBLOCK | FAN_REPORT_FID, 0));
    must(fanotify_mark(ids, FAN_MARK_ADD | FAN_MARK_ONLYDIR, FAN_CREATE | FAN_ONDIR, AT_FDCWD, test_dirname));
    must(fanotify_mark(ids, FAN_MARK_ADD | FAN_MARK_ONLYDIR, FAN_ATTRIB | FAN_EVENT_ON_CHILD, AT_FDCWD, "other"));

    test_daemon();
    test_waitsig();

    masks(mount_group); /* others may write to /proc at any time */
    write_file("/proc/self/comm", "renamed", 7);
    check(masks(mount_group) & FAN_CLOSE_WRITE, "the mark of the mount is lost");
    check(masks(ids) == 0, "the restore has caused events");
    char path[4200];
    snprintf(path, sizeof(path), "%s/new", test_dirname);
    must(mkdir(path, 0755));
    check(masks(ids) == (FAN_CREATE | FAN_ONDIR), "the mark of the directory");
    write_file("other/child", "x", 1);
    check(masks(ids) == 0, "more events than marked");
    must(chmod("other/child", 0600));
    check(masks(ids) == FAN_ATTRIB, "the mark of the children");
    return pass();
}
