/* Mount namespaces of tasks below the root: mounts of their own, files opened on them, parts of what the root has
 * mounted, and mounts that reach each other through shared groups. */
#include "zdtm.h"

#include <sys/mount.h>

/* Relative to the scratch folder. */
static void make_folder(const char *path) {
    must(mkdir(path, 0755));
}

static void put(const char *path, const char *text) {
    write_file(path, text, strlen(text));
}

static void check_text(const char *path, const char *text) {
    char found[64] = "";
    int fd = open(path, O_RDONLY);
    check(fd >= 0, "%s is not there", path);
    check(read(fd, found, sizeof(found) - 1) >= 0 && !strcmp(found, text), "%s holds \"%s\", not \"%s\"", path, found, text);
    close(fd);
}

static bool is_mount(const char *path) {
    struct stat here, above;
    char parent[128];
    snprintf(parent, sizeof(parent), "%s/..", path);
    return stat(path, &here) == 0 && stat(parent, &above) == 0 && here.st_dev != above.st_dev;
}

/* Deeper still: a tmpfs over the same place as its parent's, and a directory in it as its working directory. */
static int deeper(void *argument) {
    (void)argument;
    must(unshare(CLONE_NEWNS));
    must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
    must(mount("deeper", "own", "tmpfs", 0, NULL));
    put("own/file", "deeper");
    make_folder("own/here");
    must(chdir("own/here"));
    int fd = must(open("../file", O_RDWR));
    child_wait();
    char text[16] = "";
    check(pread(fd, text, sizeof(text) - 1, 0) == 6 && !strcmp(text, "deeper"), "the file holds \"%s\"", text);
    check_text("../file", "deeper");
    check_text("../../own/file", "deeper");
    return 0;
}

static int below(void *argument) {
    (void)argument;
    must(unshare(CLONE_NEWNS));
    must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
    must(mount("below", "own", "tmpfs", 0, "mode=750"));
    put("own/file", "below");
    must(mount("common/inner", "part", NULL, MS_BIND, NULL));
    must(mount("none", "part", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
    int file = must(open("own/file", O_RDWR)), folder = must(open("own", O_RDONLY | O_DIRECTORY));
    char *mapped = (char *)must(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
    pid_t child = spawn(deeper, NULL);
    child_wait();
    check(!strncmp(mapped, "below", 5), "the mapping holds %.5s", mapped);
    mapped[0] = 'B';
    check_text("own/file", "Below");
    check_text("part/file", "common");
    check(open("part/new", O_CREAT | O_RDWR, 0600) < 0 && errno == EROFS, "the part can be written to");
    struct stat st, again;
    must(fstat(folder, &st));
    must(stat("own", &again));
    check(st.st_dev == again.st_dev && (st.st_mode & 07777) == 0750, "the directory is another one (mode %o)", st.st_mode);
    check(openat(folder, "file", O_RDONLY) >= 0, "the directory's file is not there");
    finish_child(child);
    return 0;
}

/* Shares the group of "group" with the root: what one mounts there the other gets. */
static int sharing(void *argument) {
    (void)argument;
    must(unshare(CLONE_NEWNS));
    child_wait();
    check(is_mount("group/before"), "what was mounted by the root before is not here");
    must(mount("from-below", "group/after", "tmpfs", 0, NULL));
    return 0;
}

/* Receives only. */
static int receiving(void *argument) {
    (void)argument;
    must(unshare(CLONE_NEWNS));
    must(mount("none", "group", NULL, MS_SLAVE, NULL));
    child_wait();
    check(is_mount("group/after"), "what another one has mounted does not come here");
    must(mount("hidden", "group/hidden", "tmpfs", 0, NULL));
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    make_folder("own");
    make_folder("part");
    make_folder("common");
    must(mount("common", "common", "tmpfs", 0, NULL));
    make_folder("common/inner");
    put("common/inner/file", "common");
    put("own/file", "root");
    make_folder("group");
    must(mount("group", "group", "tmpfs", 0, NULL));
    make_folder("group/before");
    make_folder("group/after");
    make_folder("group/hidden");
    must(mount("none", "group", NULL, MS_SHARED, NULL));
    must(mount("before", "group/before", "tmpfs", 0, NULL));
    int file = must(open("own/file", O_RDONLY));
    pid_t children[] = {spawn(below, NULL), spawn(sharing, NULL), spawn(receiving, NULL)};
    test_daemon();
    test_waitsig();
    check_text("own/file", "root");
    char text[8] = "";
    check(read(file, text, 4) == 4 && !strcmp(text, "root"), "the root's file holds %s", text);
    check(!is_mount("own") && !is_mount("part"), "mounts of a task below are the root's");
    check(!is_mount("group/after"), "somebody has mounted that already");
    for (size_t i = 0; i < ARRAY_SIZE(children); i++)
        finish_child(children[i]);
    check(is_mount("group/after"), "what a task below has mounted does not come here");
    check(!is_mount("group/hidden"), "what a receiver has mounted comes here");
    return pass();
}
