/* The parent-death signal of children: the number, and that it is sent. */
#include "zdtm.h"

static volatile int told;
static void on_death(int number) {
    told = number;
}

static int leaf(void *argument) {
    int wanted = (int)(long)argument, found = -1;
    signal(SIGUSR2, on_death);
    if (wanted)
        must(prctl(PR_SET_PDEATHSIG, wanted));
    child_ready();
    while (!told && test_go())
        sleep_ms(1);
    must(prctl(PR_GET_PDEATHSIG, &found));
    check(found == wanted, "signal is %d instead of %d", found, wanted);
    return wanted && !told ? 5 : 0;
}

static int middle(void *pids) {
    pid_t *out = pids;
    out[0] = spawn(leaf, (void *)SIGUSR2);
    out[1] = spawn(leaf, (void *)0);
    child_wait();
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(prctl(PR_SET_CHILD_SUBREAPER, 1));
    pid_t *pids = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child = spawn(middle, pids);
    test_daemon();
    test_waitsig();
    finish_child(child);
    expect_wait_status(pids[0], 0);
    finish_child(pids[1]);
    return pass();
}
