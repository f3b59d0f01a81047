/* A queue of inotify that has overflowed still does, and is not filled with anything else. */
#include "zdtm.h"

#include <sys/inotify.h>
#include <sys/ioctl.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    int limit = 0;
    char text[32] = "";
    int sysctl = must(open("/proc/sys/fs/inotify/max_queued_events", O_RDONLY));
    must(read(sysctl, text, sizeof(text) - 1));
    close(sysctl);
    limit = atoi(text);
    int fd = must(inotify_init1(IN_NONBLOCK));
    write_file("a", "x", 1);
    write_file("b", "x", 1);
    int a = must(inotify_add_watch(fd, "a", IN_ATTRIB)), b = must(inotify_add_watch(fd, "b", IN_ATTRIB));
    for (int i = 0; i < limit + 10; i++)
        must(chmod(i % 2 ? "b" : "a", 0600));

    test_daemon();
    test_waitsig();

    int waiting = 0;
    must(ioctl(fd, FIONREAD, &waiting));
    check(waiting == (limit + 1) * (int)sizeof(struct inotify_event), "%d bytes wait", waiting);
    struct inotify_event event;
    for (int i = 0; i < limit; i++)
        check(read(fd, &event, sizeof(event)) == sizeof(event) && event.mask == IN_ATTRIB &&
                  event.wd == (i % 2 ? b : a),
              "event %d is %#x of watch %d", i, event.mask, event.wd);
    check(read(fd, &event, sizeof(event)) == sizeof(event) && event.mask == IN_Q_OVERFLOW && event.wd == -1,
          "the overflow is lost");
    check(read(fd, &event, sizeof(event)) < 0, "more events than before");
    return pass();
}
