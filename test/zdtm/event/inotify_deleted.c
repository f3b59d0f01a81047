/* Watches on what has no name any more, but is open: a file and a directory. Gaps between the numbers; a watch for one
 * event only (IN_ONESHOT), and the number of the next one. */
#include "zdtm.h"

#include <sys/inotify.h>

static unsigned mask_of(int fd, int watch) {
    static union {
        struct inotify_event event;
        char bytes[4096];
    } buffer;
    ssize_t length = read(fd, &buffer, sizeof(buffer));
    unsigned mask = 0;
    for (ssize_t at = 0; at < length;) {
        struct inotify_event *event = (void *)(buffer.bytes + at);
        if (event->wd == watch)
            mask |= event->mask;
        at += (ssize_t)sizeof(*event) + event->len;
    }
    return mask;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    int fd = must(inotify_init1(IN_NONBLOCK));
    write_file("deleted", "x", 1);
    write_file("gap", "x", 1);
    write_file("once", "x", 1);
    must(mkdir("gone", 0755));
    int file = must(open("deleted", O_RDWR)), dir = must(open("gone", O_RDONLY | O_DIRECTORY));
    int on_file = must(inotify_add_watch(fd, "deleted", IN_MODIFY));
    int gap = must(inotify_add_watch(fd, "gap", IN_MODIFY));
    int on_dir = must(inotify_add_watch(fd, "gone", IN_ATTRIB));
    int once = must(inotify_add_watch(fd, "once", IN_OPEN | IN_ONESHOT | IN_EXCL_UNLINK));
    must(inotify_rm_watch(fd, gap));
    must(unlink("deleted"));
    must(rmdir("gone"));
    while (mask_of(fd, on_file) || mask_of(fd, on_dir) || mask_of(fd, gap))
        ;

    test_daemon();
    test_waitsig();

    check(mask_of(fd, -1) == 0, "the queue is not empty");
    must(write(file, "y", 1));
    check(mask_of(fd, on_file) == IN_MODIFY, "the watch of the deleted file is lost");
    must(fchmod(dir, 0700));
    check(mask_of(fd, on_dir) == (IN_ATTRIB | IN_ISDIR), "the watch of the deleted directory is lost");
    close(must(open("once", O_RDONLY)));
    check(mask_of(fd, once) == (IN_OPEN | IN_IGNORED), "the watch for one event");
    close(must(open("once", O_RDONLY)));
    check(mask_of(fd, once) == 0, "the watch for one event is still there");
    check(inotify_add_watch(fd, ".", IN_CREATE) == once + 1, "the number of the next watch");
    return pass();
}
