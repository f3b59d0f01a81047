/* inotify events that nobody has read yet cannot be made again: the program is told by IN_Q_OVERFLOW that it has missed
 * something (where the program was never restored they are just there); what happens afterwards comes behind it. */
#include "zdtm.h"

#include <sys/inotify.h>
#include <sys/ioctl.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(mkdir(test_dirname, 0755));
    int fd = must(inotify_init1(IN_NONBLOCK));
    int dir = must(inotify_add_watch(fd, test_dirname, IN_CREATE | IN_MOVE));
    char path[4200];
    snprintf(path, sizeof(path), "%s/old", test_dirname);
    write_file(path, "x", 1);
    test_daemon();
    test_waitsig();
    snprintf(path, sizeof(path), "%s/new", test_dirname);
    write_file(path, "x", 1);
    union {
        struct inotify_event event;
        char bytes[4096];
    } buffer;
    ssize_t length = read(fd, &buffer, sizeof(buffer));
    check(length >= (ssize_t)sizeof(buffer.event), "the queue is empty");
    int told = buffer.event.wd == -1 && buffer.event.mask == IN_Q_OVERFLOW && buffer.event.len == 0;
    int kept = buffer.event.wd == dir && buffer.event.mask == IN_CREATE && !strcmp(buffer.event.name, "old");
    check(told || kept, "the loss is not told: watch %d, mask %#x", buffer.event.wd, buffer.event.mask);
    ssize_t first = (ssize_t)sizeof(buffer.event) + buffer.event.len;
    const struct inotify_event *next = (void *)(buffer.bytes + first);
    check(length > first && next->wd == dir && next->mask == IN_CREATE && !strcmp(next->name, "new"),
          "what happened later is lost");
    check(length == first + (ssize_t)sizeof(*next) + next->len, "more events than expected");
    check(inotify_add_watch(fd, "/", IN_CREATE) == dir + 1, "the number of the next watch");
    return pass();
}
