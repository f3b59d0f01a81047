/* Pids, parents, process groups and sessions over three generations. */
#include "zdtm.h"

struct member {
    pid_t pid, parent, group, session;
};

static void note(struct member *m) {
    *m = (struct member){getpid(), getppid(), getpgid(0), getsid(0)};
}

static void verify(const struct member *m) {
    check(getpid() == m->pid, "pid %d instead of %d", getpid(), m->pid);
    check(getppid() == m->parent, "parent %d instead of %d", getppid(), m->parent);
    check(getpgid(0) == m->group, "group %d instead of %d", getpgid(0), m->group);
    check(getsid(0) == m->session, "session %d instead of %d", getsid(0), m->session);
}

enum { kSiblingGroup, kOwnGroup, kOwnSession };
static pid_t sibling;

static int leaf(void *mode) {
    struct member me;
    if (mode == (void *)kSiblingGroup)
        must(setpgid(0, sibling));
    if (mode == (void *)kOwnGroup)
        must(setpgid(0, 0));
    if (mode == (void *)kOwnSession)
        must(setsid());
    note(&me);
    child_wait();
    verify(&me);
    return 0;
}

static int middle(void *mode) {
    struct member me;
    if (mode == (void *)kOwnGroup)
        must(setpgid(0, 0));
    if (mode == (void *)kOwnSession)
        must(setsid());
    pid_t children[3];
    for (long i = 1; i < 3; i++)
        children[i] = spawn(leaf, (void *)i);
    sibling = children[1];
    children[0] = spawn(leaf, (void *)kSiblingGroup);
    note(&me);
    child_wait();
    verify(&me);
    for (int i = 0; i < 3; i++)
        finish_child(children[i]);
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    struct member me;
    pid_t children[3];
    for (long i = 0; i < 3; i++)
        children[i] = spawn(middle, (void *)i);
    note(&me);
    test_daemon();
    test_waitsig();
    check(getpid() == me.pid && getsid(0) == me.session && getpgid(0) == me.group, "root's ids differ");
    for (int i = 0; i < 3; i++)
        finish_child(children[i]);
    return pass();
}
