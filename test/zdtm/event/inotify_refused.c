/* A watch that nothing leads to, a task's directory in /proc, is refused before the dump changes anything. */
#include "zdtm.h"

#include <sys/inotify.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    int fd = must(inotify_init1(IN_NONBLOCK));
    must(inotify_add_watch(fd, "/proc/self/task", IN_ATTRIB));
    write_file("watched", "x", 1);
    int wd = must(inotify_add_watch(fd, "watched", IN_ATTRIB));
    must(chmod("watched", 0640));
    test_daemon();
    test_waitsig();
    struct inotify_event event;
    check(read(fd, &event, sizeof(event)) == sizeof(event) && event.wd == wd && event.mask == IN_ATTRIB,
          "the refused dump has taken the event");
    check(read(fd, &event, sizeof(event)) < 0, "the refused dump has caused events");
    return pass();
}
