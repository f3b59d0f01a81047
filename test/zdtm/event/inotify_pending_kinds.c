/* Unread inotify events of every kind, byte for byte apart from their cookies. */
#include "zdtm.h"

#include <sys/inotify.h>
#include <sys/ioctl.h>

/* In a second group beside the one that is tested: what the events were. */
static char before[65536], after[65536];

static void touch_all(void) {
    char path[4200], other[4200];
    snprintf(path, sizeof(path), "%s/a file with a name longer than sixteen bytes", test_dirname);
    snprintf(other, sizeof(other), "%s/b", test_dirname);
    write_file(path, "x", 1);
    int fd = must(open(path, O_RDONLY));
    must(read(fd, other + 4000, 1));
    close(fd);
    must(chmod(path, 0640));
    must(rename(path, other));
    must(rename(other, "outside"));
    must(rename("outside", other));
    must(unlink(other));
    must(mkdir(path, 0700));
    close(must(open(path, O_RDONLY | O_DIRECTORY)));
    must(rmdir(path));
    write_file("itself", "y", 1);
    must(chmod("itself", 0640));
    must(rename("itself", "renamed"));
    must(unlink("renamed"));
    close(must(open(test_dirname, O_RDONLY | O_DIRECTORY)));
}

static void watch(int fd) {
    must(inotify_add_watch(fd, test_dirname, IN_ALL_EVENTS));
    must(inotify_add_watch(fd, "itself", IN_ALL_EVENTS));
    int wd = must(inotify_add_watch(fd, "/", IN_DELETE_SELF));
    must(inotify_rm_watch(fd, wd));
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(mkdir(test_dirname, 0755));
    write_file("itself", "x", 1);
    int fd = must(inotify_init1(IN_NONBLOCK)), twin = must(inotify_init1(IN_NONBLOCK));
    watch(fd);
    watch(twin);
    touch_all();
    ssize_t length = must(read(twin, before, sizeof(before)));
    close(twin);

    test_daemon();
    test_waitsig();

    int waiting = 0;
    must(ioctl(fd, FIONREAD, &waiting));
    /* Whoever looks into the directory meanwhile, as the runner does, adds to them. */
    check(waiting >= length, "%d bytes wait instead of %zd", waiting, length);
    check(read(fd, after, sizeof(after)) == waiting, "cannot read the events");
    uint32_t cookie_before = 0, cookie_after = 0;
    for (ssize_t at = 0; at < length;) {
        struct inotify_event *was = (void *)(before + at), *is = (void *)(after + at);
        check(was->wd == is->wd && was->mask == is->mask && was->len == is->len, "watch %d %#x has become %d %#x",
              was->wd, was->mask, is->wd, is->mask);
        check(!was->len || !strcmp(was->name, is->name), "%s has become %s", was->name, is->name);
        check(!was->cookie == !is->cookie, "cookie %u has become %u", was->cookie, is->cookie);
        check((was->mask & IN_MOVED_TO) == 0 || was->cookie != cookie_before || is->cookie == cookie_after,
              "the two sides of a move have different cookies");
        cookie_before = was->cookie, cookie_after = is->cookie;
        at += (ssize_t)sizeof(*was) + was->len;
    }
    return pass();
}
