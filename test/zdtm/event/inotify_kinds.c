/* inotify watches of all kinds: deleted files and directories, a file without a known name, one-shot, unlinked children,
 * the number of the next watch. */
#include "zdtm.h"

#include <sys/inotify.h>

static uint32_t next_mask(int fd, int *wd) {
    static char buffer[4096];
    static ssize_t length, at;
    if (at >= length) {
        at = 0;
        length = read(fd, buffer, sizeof(buffer));
    }
    if (length <= 0)
        return *wd = 0;
    struct inotify_event *event = (void *)(buffer + at);
    at += sizeof(*event) + event->len;
    *wd = event->wd;
    return event->mask;
}

static void drain(int fd) {
    int wd;
    while (next_mask(fd, &wd))
        ;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    char path[4200];
    must(mkdir(test_dirname, 0755));
    int fd = must(inotify_init1(IN_NONBLOCK));

    int ghost = must(open("ghost", O_RDWR | O_CREAT, 0600));
    int ghost_wd = must(inotify_add_watch(fd, "ghost", IN_MODIFY));
    must(unlink("ghost"));

    must(mkdir("gone", 0700));
    int gone = must(open("gone", O_RDONLY | O_DIRECTORY));
    int gone_wd = must(inotify_add_watch(fd, "gone", IN_ATTRIB | IN_ONLYDIR));
    must(rmdir("gone"));

    write_file("moved", "x", 1);
    int moved_wd = must(inotify_add_watch(fd, "moved", IN_MODIFY));
    must(rename("moved", "elsewhere"));

    write_file("replaced", "x", 1);
    must(link("replaced", "other_name"));
    int replaced_wd = must(inotify_add_watch(fd, "replaced", IN_MODIFY));
    must(unlink("replaced"));
    write_file("replaced", "y", 1);

    write_file("once", "x", 1);
    int once_wd = must(inotify_add_watch(fd, "once", IN_MODIFY | IN_ONESHOT));

    snprintf(path, sizeof(path), "%s/child", test_dirname);
    write_file(path, "x", 1);
    int child = must(open(path, O_WRONLY));
    int dir_wd = must(inotify_add_watch(fd, test_dirname, IN_MODIFY | IN_EXCL_UNLINK));

    must(symlink("nowhere", "link"));
    int link_wd = must(inotify_add_watch(fd, "link", IN_DELETE_SELF | IN_DONT_FOLLOW));

    int last = must(inotify_add_watch(fd, "/", IN_DELETE_SELF));
    must(inotify_rm_watch(fd, last));
    drain(fd);

    test_daemon();
    test_waitsig();

    int wd;
    uint32_t mask = next_mask(fd, &wd);
    check(!mask, "the checkpoint has caused the event %#x of watch %d", mask, wd);
    must(write(ghost, "x", 1));
    mask = next_mask(fd, &wd);
    check(mask == IN_MODIFY && wd == ghost_wd, "deleted file: event %#x of watch %d", mask, wd);
    must(fchmod(gone, 0711));
    mask = next_mask(fd, &wd);
    check(mask == (IN_ATTRIB | IN_ISDIR) && wd == gone_wd, "deleted directory: event %#x of watch %d", mask, wd);
    int file = must(open("elsewhere", O_WRONLY));
    must(write(file, "x", 1));
    close(file);
    mask = next_mask(fd, &wd);
    check(mask == IN_MODIFY && wd == moved_wd, "renamed file: event %#x of watch %d", mask, wd);
    write_file("replaced", "zz", 2);
    mask = next_mask(fd, &wd);
    check(!mask, "the new file of the name is watched: event %#x of watch %d", mask, wd);
    file = must(open("other_name", O_WRONLY));
    must(write(file, "x", 1));
    close(file);
    mask = next_mask(fd, &wd);
    check(mask == IN_MODIFY && wd == replaced_wd, "file with another name: event %#x of watch %d", mask, wd);
    file = must(open("once", O_WRONLY));
    must(write(file, "x", 1));
    must(write(file, "x", 1));
    mask = next_mask(fd, &wd);
    check(mask == IN_MODIFY && wd == once_wd, "one-shot: event %#x of watch %d", mask, wd);
    mask = next_mask(fd, &wd);
    check(mask == IN_IGNORED && wd == once_wd, "one-shot goes on: event %#x of watch %d", mask, wd);
    must(write(child, "x", 1));
    mask = next_mask(fd, &wd);
    check(mask == IN_MODIFY && wd == dir_wd, "child: event %#x of watch %d", mask, wd);
    must(unlink(path));
    must(write(child, "x", 1));
    mask = next_mask(fd, &wd);
    check(!mask, "IN_EXCL_UNLINK is lost: event %#x of watch %d", mask, wd);
    must(unlink("link"));
    mask = next_mask(fd, &wd);
    check(mask == IN_DELETE_SELF && wd == link_wd, "symbolic link: event %#x of watch %d", mask, wd);
    drain(fd);
    wd = must(inotify_add_watch(fd, "/", IN_DELETE_SELF));
    check(wd == last + 1, "the next watch gets the number %d instead of %d", wd, last + 1);
    return pass();
}
