/* inotify on an overlay, whose file handles cannot be opened: paths are searched (--irmap-scan-path). */
#include "zdtm.h"

#include <sys/inotify.h>
#include <sys/mount.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(mkdir("/tmp/zdtm_overlay", 0755) < 0 && errno != EEXIST ? -1 : 0);
    must(mount("scratch", "/tmp/zdtm_overlay", "tmpfs", 0, NULL));
    must(mkdir("/tmp/zdtm_overlay/lower", 0755));
    must(mkdir("/tmp/zdtm_overlay/upper", 0755));
    must(mkdir("/tmp/zdtm_overlay/work", 0755));
    must(mkdir("/tmp/zdtm_overlay/merged", 0755));
    must(mkdir("/tmp/zdtm_overlay/lower/directory", 0755));
    write_file("/tmp/zdtm_overlay/lower/directory/file", "x", 1);
    must(mount("overlay", "/tmp/zdtm_overlay/merged", "overlay", 0,
               "lowerdir=/tmp/zdtm_overlay/lower,upperdir=/tmp/zdtm_overlay/upper,workdir=/tmp/zdtm_overlay/work"));
    int fd = must(inotify_init1(IN_NONBLOCK));
    int root = must(inotify_add_watch(fd, "/tmp/zdtm_overlay/merged", IN_CREATE));
    int file = must(inotify_add_watch(fd, "/tmp/zdtm_overlay/merged/directory/file", IN_CLOSE_NOWRITE));

    test_daemon();
    test_waitsig();

    static char buffer[4096];
    struct inotify_event *event = (void *)buffer;
    while (read(fd, buffer, sizeof(buffer)) > 0)
        ; /* the runner looks into files, too */
    write_file("/tmp/zdtm_overlay/merged/new", "x", 1);
    check(read(fd, buffer, sizeof(buffer)) > 0 && event->wd == root && event->mask == IN_CREATE, "root");
    close(must(open("/tmp/zdtm_overlay/merged/directory/file", O_RDONLY)));
    check(read(fd, buffer, sizeof(buffer)) > 0 && event->wd == file && event->mask == IN_CLOSE_NOWRITE, "file");
    umount2("/tmp/zdtm_overlay/merged", MNT_DETACH);
    umount2("/tmp/zdtm_overlay", MNT_DETACH);
    return pass();
}
