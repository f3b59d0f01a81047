/* A removed file of an overlay's lower layer, whose link count stays: its contents come back. */
#include "zdtm.h"

#include <limits.h>
#include <sys/mount.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(mkdir(test_dirname, 0755));
    must(mount("scratch", test_dirname, "tmpfs", 0, NULL));
    must(chdir(test_dirname));
    const char *const directories[] = {"lower", "upper", "work", "merged"};
    for (size_t i = 0; i < ARRAY_SIZE(directories); i++)
        must(mkdir(directories[i], 0755));
    write_file("lower/file", "from below", 10);
    char options[4 * PATH_MAX], here[PATH_MAX]; /* by whole paths: where relative ones begin, nobody tells */
    must(getcwd(here, sizeof here) ? 0 : -1);
    snprintf(options, sizeof options, "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work", here, here, here);
    must(mount("overlay", "merged", "overlay", 0, options));
    int fd = must(open("merged/file", O_RDONLY));
    must(unlink("merged/file"));
    test_daemon();
    test_waitsig();
    char text[16] = {0};
    check(pread(fd, text, sizeof(text), 0) == 10 && !strcmp(text, "from below"), "contents are \"%s\"", text);
    check(access("merged/file", F_OK) < 0 && errno == ENOENT, "the name is back");
    return pass();
}
