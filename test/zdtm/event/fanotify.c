/* fanotify: inode and mount marks with masks and ignore masks. */
#include "zdtm.h"

#include <sys/fanotify.h>

static int count(int fd, uint64_t *masks) {
    struct fanotify_event_metadata events[16];
    ssize_t length = read(fd, events, sizeof(events));
    int number = 0;
    *masks = 0;
    for (struct fanotify_event_metadata *e = events; length > 0 && FAN_EVENT_OK(e, length);
         e = FAN_EVENT_NEXT(e, length)) {
        *masks |= e->mask;
        number++;
        if (e->fd >= 0)
            close(e->fd);
    }
    return number;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    write_file("watched", "x", 1);
    write_file("ignored", "x", 1);
    int fd = must(fanotify_init(FAN_NONBLOCK | FAN_CLASS_NOTIF | FAN_CLOEXEC, O_RDONLY | O_LARGEFILE));
    must(fanotify_mark(fd, FAN_MARK_ADD, FAN_MODIFY | FAN_CLOSE_WRITE, AT_FDCWD, "watched"));
    must(fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, "ignored"));
    must(fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY, FAN_OPEN, AT_FDCWD,
                       "ignored"));
    uint64_t masks;
    test_daemon();
    test_waitsig();
    check(count(fd, &masks) <= 0, "the restore has caused events");
    write_file("watched", "y", 1);
    check(count(fd, &masks) >= 1 && masks == (FAN_MODIFY | FAN_CLOSE_WRITE), "events of the file: %#lx", masks);
    close(must(open("ignored", O_RDONLY)));
    check(count(fd, &masks) <= 0, "the ignore mask is lost");
    return pass();
}
