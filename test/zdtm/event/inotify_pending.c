/* inotify events that nobody has read yet, with names and cookies. */
#include "zdtm.h"

#include <sys/inotify.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(mkdir(test_dirname, 0755));
    int fd = must(inotify_init1(IN_NONBLOCK));
    int dir = must(inotify_add_watch(fd, test_dirname, IN_CREATE | IN_MOVE));
    char old[4200], new[4200];
    snprintf(old, sizeof(old), "%s/old", test_dirname);
    snprintf(new, sizeof(new), "%s/new", test_dirname);
    write_file(old, "x", 1);
    must(rename(old, new));
    test_daemon();
    test_waitsig();
    char buffer[4096];
    ssize_t length = read(fd, buffer, sizeof(buffer));
    static const uint32_t kMasks[] = {IN_CREATE, IN_MOVED_FROM, IN_MOVED_TO};
    size_t at = 0;
    for (int i = 0; i < 3; i++) {
        const struct inotify_event *event = (void *)(buffer + at);
        check(length > 0 && at < (size_t)length, "event %d is lost", i);
        check(event->wd == dir && event->mask == kMasks[i], "event %d: mask %#x", i, event->mask);
        at += sizeof(*event) + event->len;
    }
    check(at == (size_t)length, "more events than before");
    return pass();
}
