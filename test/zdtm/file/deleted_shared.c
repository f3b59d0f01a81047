/* One deleted file, opened anew by several processes with different modes and offsets: still one file. */
#include "zdtm.h"

static int reopened(int flags) {
    return must(open(test_filename, flags));
}

static int body(void *flags) {
    int fd = reopened((int)(long)flags);
    must(lseek(fd, 3, SEEK_SET));
    child_wait();
    char byte;
    check(lseek(fd, 0, SEEK_CUR) == 3, "offset");
    if ((int)(long)flags == O_WRONLY)
        check(pwrite(fd, "W", 1, 5) == 1, "write");
    else
        check(pread(fd, &byte, 1, 5) == 1 && byte == 'W', "the other process's write is not seen: %c", byte);
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    write_file(test_filename, "0123456789", 10);
    pid_t writer = spawn(body, (void *)O_WRONLY), reader = spawn(body, (void *)O_RDONLY);
    must(unlink(test_filename));
    test_daemon();
    test_waitsig();
    finish_child(writer);
    finish_child(reader);
    return pass();
}
