/* Subreapers: the attribute itself, orphans that came to one, and orphans that come later. */
#include "zdtm.h"

static pid_t orphan;
static int channel[2];

static int leaf(void *unused) {
    (void)unused;
    child_wait();
    return 0;
}

static int parent_that_leaves(void *unused) {
    (void)unused;
    pid_t pid = spawn(leaf, NULL);
    must(write(channel[1], &pid, sizeof(pid)));
    child_ready();
    return 0;
}

static pid_t make_orphan(void) {
    pid_t pid, parent;
    must(pipe(channel));
    parent = spawn(parent_that_leaves, NULL);
    must(read(channel[0], &pid, sizeof(pid)));
    expect_wait_status(parent, 0);
    close(channel[0]);
    close(channel[1]);
    return pid;
}

static int reaper(void *unused) {
    (void)unused;
    must(prctl(PR_SET_CHILD_SUBREAPER, 1));
    orphan = make_orphan();
    child_wait();
    int value = 0;
    check(prctl(PR_GET_CHILD_SUBREAPER, &value) == 0 && value == 1, "attribute of the subreaper is %d", value);
    finish_child(orphan);
    finish_child(make_orphan());
    return 0;
}

static int no_reaper(void *unused) {
    (void)unused;
    child_wait();
    int value = 1;
    check(prctl(PR_GET_CHILD_SUBREAPER, &value) == 0 && value == 0, "attribute of another task is %d", value);
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pid_t first = spawn(reaper, NULL), second = spawn(no_reaper, NULL);
    test_daemon();
    test_waitsig();
    finish_child(first);
    finish_child(second);
    return pass();
}
