/* Pipes over a family: ends in different processes, data in them, ends that nobody has any more. */
#include "zdtm.h"

static int down[2], up[2], orphan_reader[2], orphan_writer[2];

static int body(void *unused) {
    (void)unused;
    char text[32] = {0};
    close(down[1]);
    close(up[0]);
    for (int i = 0; i < 2; i++) {
        close(orphan_reader[i]);
        close(orphan_writer[i]);
    }
    child_wait();
    check(read(down[0], text, 5) == 5 && !strcmp(text, "first"), "child reads '%s'", text);
    memset(text, 0, sizeof(text));
    check(read(down[0], text, 6) == 6 && !strcmp(text, "second"), "child reads '%s'", text);
    check(write(up[1], "answer", 6) == 6, "write");
    check(read(down[0], text, 1) == 0, "no end of file");
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    must(pipe(down));
    must(pipe(up));
    must(pipe(orphan_reader));
    must(pipe(orphan_writer));
    pid_t child = spawn(body, NULL);
    close(down[0]);
    close(up[1]);
    must(write(down[1], "first", 5));
    must(write(orphan_reader[1], "left behind", 11));
    /* Nobody writes here and nobody reads there any more, the child included. */
    close(orphan_reader[1]);
    close(orphan_writer[0]);
    test_daemon();
    test_waitsig();
    char text[32] = {0};
    must(write(down[1], "second", 6));
    kill(child, SIGTERM);
    check(read(up[0], text, sizeof(text)) == 6 && !strcmp(text, "answer"), "parent reads '%s'", text);
    close(down[1]);
    expect_wait_status(child, 0);
    check(read(up[0], text, 1) == 0, "no end of file");
    check(read(orphan_reader[0], text, 20) == 11 && !strncmp(text, "left behind", 11), "data without a writer");
    check(read(orphan_reader[0], text, 20) == 0, "no end of file");
    check(write(orphan_writer[1], "x", 1) == -1 && errno == EPIPE, "a reader has appeared");
    return pass();
}
