/* inotify and fanotify groups in flight in a unix socket: with watches, marks, and an event that nobody has read. */
#include "sockets.h"

#include <sys/fanotify.h>
#include <sys/inotify.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    write_file("watched", "x", 1);
    int channel[2];
    must(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, channel));
    int inotify = must(inotify_init1(IN_NONBLOCK));
    int wd = must(inotify_add_watch(inotify, "watched", IN_ATTRIB));
    must(chmod("watched", 0640));
    int fanotify = must(fanotify_init(FAN_NONBLOCK, O_RDONLY));
    must(fanotify_mark(fanotify, FAN_MARK_ADD, FAN_MODIFY, AT_FDCWD, "watched"));
    send_fds(channel[0], &inotify, 1);
    send_fds(channel[0], &fanotify, 1);
    close(inotify);
    close(fanotify);

    test_daemon();
    test_waitsig();

    check(receive_fds(channel[1], &inotify, 1) == 1 && receive_fds(channel[1], &fanotify, 1) == 1, "they are lost");
    struct inotify_event event;
    check(read(inotify, &event, sizeof(event)) == sizeof(event) && event.mask == IN_ATTRIB && event.wd == wd,
          "the unread event");
    check(read(inotify, &event, sizeof(event)) < 0, "more events than before");
    must(chmod("watched", 0600));
    check(read(inotify, &event, sizeof(event)) == sizeof(event) && event.mask == IN_ATTRIB && event.wd == wd,
          "the watch is lost");
    write_file("watched", "y", 1);
    struct fanotify_event_metadata mark;
    check(read(fanotify, &mark, sizeof(mark)) == sizeof(mark) && mark.mask == FAN_MODIFY, "the mark is lost");
    return pass();
}
