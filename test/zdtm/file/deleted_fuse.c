/* Removed files on FUSE, open for reading, for writing, and mapped: a server forgets what nobody has open. */
#include "zdtm.h"

#include <sys/mount.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    /* Not in the test's own folder: the server shows what it has hidden. */
    must(mkdir("/tmp/zdtm_fuse", 0755) < 0 && errno != EEXIST ? -1 : 0);
    must(mount("scratch", "/tmp/zdtm_fuse", "tmpfs", 0, NULL));
    must(chdir("/tmp/zdtm_fuse"));
    must(mkdir("source", 0755));
    must(mkdir("mounted", 0755));
    must(system("bindfs source mounted </dev/null >/dev/null 2>&1") ? -1 : 0);
    write_file("mounted/read", "only read", 9);
    write_file("mounted/mapped", "mapped", 6);
    int fd = must(open("mounted/read", O_RDONLY)), written = must(open("mounted/written", O_CREAT | O_RDWR, 0600)),
        mapped = must(open("mounted/mapped", O_RDWR));
    must(write(written, "before", 6));
    char *memory = (void *)must(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, mapped, 0));
    must(close(mapped));
    must(unlink("mounted/read"));
    must(unlink("mounted/written"));
    must(unlink("mounted/mapped"));
    test_daemon();
    test_waitsig();
    char text[16] = {0};
    check(pread(fd, text, sizeof(text), 0) == 9 && !strcmp(text, "only read"), "read: \"%s\"", text);
    check(write(written, " after", 6) == 6 && pread(written, text, sizeof(text), 0) == 12 &&
              !strcmp(text, "before after"),
          "written: \"%s\"", text);
    check(!memcmp(memory, "mapped", 6), "mapped");
    umount2("mounted", MNT_DETACH);
    umount2("/tmp/zdtm_fuse", MNT_DETACH);
    return pass();
}
