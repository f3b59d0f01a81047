/* Named pipes: contents, both ends in one descriptor, one-ended, over two processes, and deleted ones. */
#include "zdtm.h"

static char named[4200], deleted[4200], lonely[4200];
static int child_end;

static int body(void *unused) {
    (void)unused;
    char text[16] = {0};
    child_wait();
    check(read(child_end, text, sizeof(text)) == 5 && !strcmp(text, "hello"), "child reads '%s'", text);
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    snprintf(named, sizeof(named), "%s.named", test_filename);
    snprintf(deleted, sizeof(deleted), "%s.deleted", test_filename);
    snprintf(lonely, sizeof(lonely), "%s.lonely", test_filename);
    must(mkfifo(named, 0600));
    must(mkfifo(deleted, 0640));
    must(mkfifo(lonely, 0600));
    int both = must(open(named, O_RDWR));
    must(fcntl(both, F_SETPIPE_SZ, 131072));
    must(write(both, "inside", 6));
    child_end = must(open(deleted, O_RDONLY | O_NONBLOCK));
    int writer = must(open(deleted, O_WRONLY));
    must(fcntl(child_end, F_SETFL, 0));
    must(unlink(deleted));
    int reader_only = must(open(lonely, O_RDONLY | O_NONBLOCK));
    pid_t child = spawn(body, NULL);
    test_daemon();
    test_waitsig();
    char text[16] = {0};
    check(fcntl(both, F_GETPIPE_SZ) == 131072, "capacity");
    int second = open(named, O_RDONLY | O_NONBLOCK);
    check(second >= 0 && read(second, text, 3) == 3 && !strcmp(text, "ins"), "the name does not lead to the same fifo");
    check(read(both, text, sizeof(text)) == 3 && !strcmp(text, "ide"), "contents");
    check(access(deleted, F_OK) == -1, "the deleted fifo is back");
    check(write(writer, "hello", 5) == 5, "write");
    finish_child(child);
    check(read(reader_only, text, 1) == 0, "the fifo without writer has one");
    int writer2 = open(lonely, O_WRONLY | O_NONBLOCK);
    check(writer2 >= 0 && write(writer2, "z", 1) == 1 && read(reader_only, text, 1) == 1,
          "a new writer does not get through");
    return pass();
}
