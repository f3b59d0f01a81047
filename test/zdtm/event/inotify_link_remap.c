/* inotify on a directory and a file in which the dump itself makes a link: nobody sees it. */
#include "zdtm.h"

#include <sys/inotify.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(mkdir(test_dirname, 0755));
    char path[4200], other[4200];
    snprintf(path, sizeof(path), "%s/name", test_dirname);
    snprintf(other, sizeof(other), "%s/other", test_dirname);
    write_file(path, "x", 1);
    int file = must(open(path, O_RDWR));
    must(link(path, other));
    must(unlink(path));
    int fd = must(inotify_init1(IN_NONBLOCK));
    int dir_wd = must(inotify_add_watch(fd, test_dirname, IN_CREATE | IN_DELETE | IN_MOVE));
    int file_wd = must(inotify_add_watch(fd, other, IN_ATTRIB));
    must(fchmod(file, 0640));

    test_daemon();
    test_waitsig();

    char buffer[4096];
    struct inotify_event *event = (void *)buffer;
    ssize_t length = read(fd, buffer, sizeof(buffer));
    check(length == sizeof(*event) && event->wd == file_wd && event->mask == IN_ATTRIB,
          "%zd bytes wait, the first event is %#x of watch %d (the directory has %d)", length, event->mask, event->wd,
          dir_wd);
    must(unlink(other));
    check(read(fd, buffer, sizeof(buffer)) > 0, "the watches are lost");
    return pass();
}
