/* fanotify: marks on a mount, a file system, directories, a deleted file; ignore masks of both kinds; groups with file
 * handles instead of descriptors, and one that decides. */
#include "zdtm.h"

#include <sys/fanotify.h>
#include <sys/mount.h>

#define kIgnoreSurviving 0x440 /* FAN_MARK_IGNORE_SURV */

static uint64_t events_of(int fd) {
    static char buffer[8192] __attribute__((aligned(8)));
    struct fanotify_event_metadata *event = (void *)buffer;
    ssize_t length = read(fd, buffer, sizeof(buffer));
    uint64_t masks = 0;
    for (; length > 0 && FAN_EVENT_OK(event, length); event = FAN_EVENT_NEXT(event, length)) {
        masks |= event->mask;
        if (event->fd >= 0)
            close(event->fd);
    }
    return masks;
}

static char info[4][4096];

/* Where mounts are made anew (in a container) their numbers are others. */
static void blank(char *text, const char *key) {
    for (char *at = text; (at = strstr(at, key));)
        for (at += strlen(key); *at && *at != ' '; at++)
            *at = '-';
}

/* What the kernel tells about the marks; inode numbers of deleted files and numbers of mounts may be others. */
static void read_info(int fd, char *text) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    int file = must(open(path, O_RDONLY));
    ssize_t length = must(read(file, text, 4095));
    text[length] = 0;
    close(file);
    char *start = strstr(text, "fanotify");
    memmove(text, start, strlen(start) + 1);
    blank(text, "fanotify sdev:");
    blank(text, "fanotify mnt_id:");
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(mkdir(test_dirname, 0755));
    must(mkdir("mounted", 0755));
    must(mount("scratch", "mounted", "tmpfs", 0, NULL));
    write_file("mounted/file", "x", 1);
    write_file("decided", "x", 1);

    int plain = must(fanotify_init(FAN_NONBLOCK | FAN_CLASS_NOTIF, O_RDONLY | O_CLOEXEC));
    must(fanotify_mark(plain, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_CLOSE_WRITE, AT_FDCWD, "mounted"));
    must(fanotify_mark(plain, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_MODIFY, AT_FDCWD, "mounted"));
    must(fanotify_mark(plain, FAN_MARK_ADD, FAN_OPEN | FAN_ONDIR | FAN_EVENT_ON_CHILD, AT_FDCWD, test_dirname));

    int names = must(fanotify_init(FAN_NONBLOCK | FAN_REPORT_DFID_NAME | FAN_UNLIMITED_QUEUE, O_RDONLY));
    must(fanotify_mark(names, FAN_MARK_ADD, FAN_CREATE | FAN_DELETE | FAN_MOVE | FAN_ONDIR, AT_FDCWD, test_dirname));
    must(fanotify_mark(names, FAN_MARK_ADD | kIgnoreSurviving, FAN_DELETE | FAN_EVENT_ON_CHILD, AT_FDCWD, test_dirname));

    int gone = must(open("gone", O_RDWR | O_CREAT, 0600));
    int ghost = must(fanotify_init(FAN_NONBLOCK, O_RDONLY));
    must(fanotify_mark(ghost, FAN_MARK_ADD, FAN_MODIFY, AT_FDCWD, "gone"));
    must(unlink("gone"));

    int decides = must(fanotify_init(FAN_NONBLOCK | FAN_CLASS_CONTENT, O_RDONLY));
    must(fanotify_mark(decides, FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD, "decided"));
    int fds[] = {plain, names, decides};
    for (int i = 0; i < 3; i++)
        read_info(fds[i], info[i]);

    test_daemon();
    test_waitsig();

    for (int i = 0; i < 3; i++) {
        read_info(fds[i], info[3]);
        check(!strcmp(info[i], info[3]), "marks were\n%sand are\n%s", info[i], info[3]);
    }
    /* The runner opens the directory to look into it. */
    check(!(events_of(plain) & ~(uint64_t)(FAN_OPEN | FAN_ONDIR)) && !events_of(names) && !events_of(ghost) && !events_of(decides),
          "the checkpoint has caused events");
    write_file("mounted/file", "y", 1);
    uint64_t mask = events_of(plain);
    check(mask == (FAN_CLOSE_WRITE | FAN_MODIFY), "mount and file system: %#lx", mask);
    close(must(open(test_dirname, O_RDONLY | O_DIRECTORY)));
    mask = events_of(plain);
    check(mask == FAN_OPEN, "directory: %#lx", mask);
    char path[4200];
    snprintf(path, sizeof(path), "%s/new", test_dirname);
    must(mkdir(path, 0700));
    mask = events_of(names);
    check(mask == (FAN_CREATE | FAN_ONDIR), "names: %#lx", mask);
    must(write(gone, "x", 1));
    mask = events_of(ghost);
    check(mask == FAN_MODIFY, "deleted file: %#lx", mask);
    must(umount2("mounted", MNT_DETACH));
    return pass();
}
