/* A writer that is blocked in a full pipe and a reader that waits for an empty one, in different processes, with a
 * stream of data passing through while the checkpoint happens. */
#include "zdtm.h"

#define TOTAL (4 * MIB)
static int ends[2];

static int writer(void *unused) {
    (void)unused;
    child_ready();
    static uint8_t block[7777];
    for (size_t done = 0; done < TOTAL;) {
        for (size_t i = 0; i < sizeof(block); i++)
            block[i] = ((done + i) * 7 / 3);
        size_t wanted = TOTAL - done < sizeof(block) ? TOTAL - done : sizeof(block), part = 0;
        while (part < wanted) {
            ssize_t n = write(ends[1], block + part, wanted - part);
            check(n > 0, "write");
            part += n;
        }
        done += wanted;
    }
    close(ends[1]);
    test_waitsig();
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(pipe(ends));
    pid_t child = spawn(writer, NULL);
    close(ends[1]);
    wait_until_asleep(child); /* the pipe is full */
    test_daemon();
    test_waitsig();
    static uint8_t block[10000];
    size_t done = 0;
    ssize_t n;
    while ((n = read(ends[0], block, sizeof(block))) > 0) {
        for (ssize_t i = 0; i < n; i++)
            check(block[i] == (uint8_t)((done + i) * 7 / 3), "byte %zu differs", done + i);
        done += n;
    }
    check(n == 0 && done == TOTAL, "%zu bytes instead of %zu", done, (size_t)TOTAL);
    finish_child(child);
    return pass();
}
