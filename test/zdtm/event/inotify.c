/* inotify: watches by number and mask, on files, directories, and a deleted file's; events after restore, and none that
 * the restore itself has caused. */
#include "zdtm.h"

#include <sys/inotify.h>

/* The next event of the queue; one read may bring several. */
static struct inotify_event *next(int fd) {
    static union {
        struct inotify_event event;
        char bytes[4096];
    } buffer;
    static ssize_t length, at;
    if (at >= length) {
        at = 0;
        length = read(fd, &buffer, sizeof(buffer));
    }
    if (length <= 0)
        return NULL;
    struct inotify_event *event = (void *)(buffer.bytes + at);
    at += sizeof(*event) + event->len;
    return event;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(mkdir(test_dirname, 0755));
    write_file("watched", "x", 1);
    int fd = must(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    int gone = must(inotify_add_watch(fd, test_dirname, IN_ALL_EVENTS));
    must(inotify_rm_watch(fd, gone));
    int gap = next(fd) ? 1 : 0; /* IN_IGNORED */
    int dir = must(inotify_add_watch(fd, test_dirname, IN_CREATE | IN_DELETE | IN_ONLYDIR));
    int file = must(inotify_add_watch(fd, "watched", IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE));
    int empty = must(inotify_init1(IN_NONBLOCK));
    test_daemon();
    test_waitsig();
    check(gap == 1, "set-up");
    check(fcntl(fd, F_GETFD) == FD_CLOEXEC && fcntl(fd, F_GETFL) & O_NONBLOCK, "flags");
    check(!next(fd) && !next(empty), "the restore has caused events");
    char path[4200];
    snprintf(path, sizeof(path), "%s/new", test_dirname);
    write_file(path, "y", 1);
    struct inotify_event *event = next(fd);
    check(event && event->wd == dir && event->mask == IN_CREATE && !strcmp(event->name, "new"),
          "no event for the directory");
    check(!next(fd), "the mask of the directory has grown");
    write_file("watched", "zz", 2);
    int seen = 0;
    while ((event = next(fd)))
        if (event->wd == file)
            seen |= event->mask;
    check(seen == (IN_MODIFY | IN_CLOSE_WRITE), "events of the file: %#x", seen);
    check(inotify_rm_watch(fd, dir) == 0 && inotify_rm_watch(fd, file) == 0, "watch numbers are others");
    return pass();
}
