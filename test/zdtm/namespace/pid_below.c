/* Pid namespaces of tasks below the root, one in another: everybody is called what he was, in his own and in those
 * around it, and whoever makes children in such a namespace goes on doing so. */
#include "zdtm.h"

struct names {
    pid_t self, parent, group, session, thread;
};

static struct names names_now(void) {
    return (struct names){getpid(), getppid(), getpgrp(), getsid(0), gettid_()};
}

static void check_names(const struct names *before) {
    const struct names now = names_now();
    check(now.self == before->self && now.thread == before->thread, "it is called %d, not %d", now.self, before->self);
    check(now.parent == before->parent, "its parent is called %d, not %d", now.parent, before->parent);
    check(now.group == before->group, "its group is called %d, not %d", now.group, before->group);
    check(now.session == before->session, "its session is called %d, not %d", now.session, before->session);
}

/* Its own group, its own session or those of its parent. */
enum { AS_PARENT, OWN_GROUP, OWN_SESSION };

static int plain(void *argument) {
    if ((long)argument == OWN_GROUP)
        must(setpgid(0, 0));
    if ((long)argument == OWN_SESSION)
        must(setsid());
    const struct names before = names_now();
    child_wait();
    check_names(&before);
    return 0;
}

/* In the session and group of a leader that has died. */
static int orphan(void *argument) {
    (void)argument;
    const struct names before = names_now();
    child_wait();
    check(getsid(0) == before.session && getpgrp() == before.group, "session %d and group %d, not %d and %d", getsid(0),
          getpgrp(), before.session, before.group);
    return 0;
}

static pid_t *orphans; /* their numbers in the namespace they are in */

static int dying_leader(void *argument) {
    must(setsid());
    orphans[(long)argument] = spawn(orphan, NULL);
    child_ready();
    return 0;
}

static int exits(void *argument) {
    return (int)(long)argument;
}

static pid_t zombie(int code) {
    fflush(NULL);
    pid_t pid = must(fork());
    if (pid == 0)
        _exit(code);
    siginfo_t info;
    must(waitid(P_PID, pid, &info, WEXITED | WNOWAIT));
    return pid;
}

static int inner_init(void *argument) {
    (void)argument;
    const struct names before = names_now();
    check(before.self == 1 && before.parent == 0, "the init of a namespace is called %d", before.self);
    pid_t children[] = {spawn(plain, (void *)AS_PARENT), spawn(plain, (void *)OWN_SESSION)}, dead = zombie(5);
    child_wait();
    check_names(&before);
    expect_wait_status(dead, 5 << 8);
    for (size_t i = 0; i < ARRAY_SIZE(children); i++)
        finish_child(children[i]);
    return 0;
}

static int init(void *argument) {
    (void)argument;
    const struct names before = names_now();
    check(before.self == 1 && before.parent == 0, "the init of a namespace is called %d", before.self);
    pid_t children[] = {spawn(plain, (void *)AS_PARENT), spawn(plain, (void *)OWN_GROUP),
                        spawn(plain, (void *)OWN_SESSION), spawn_flags(SIGCHLD | CLONE_NEWPID, inner_init, NULL)};
    pid_t dead = zombie(7), gone = zombie(0);
    expect_wait_status(gone, 0); /* a number that is free */
    pid_t leader = spawn(dying_leader, (void *)0L);
    expect_wait_status(leader, 0);
    child_wait();
    check_names(&before);
    expect_wait_status(dead, 7 << 8);
    for (size_t i = 0; i < ARRAY_SIZE(children); i++)
        finish_child(children[i]);
    finish_child(orphans[0]);
    check(waitpid(-1, NULL, 0) < 0 && errno == ECHILD, "there are children that are nobody's");
    return 0;
}

static int late(void *argument) {
    (void)argument;
    check(getpid() > 1 && getppid() == 0, "a child that is made now is called %d, and its parent %d", getpid(), getppid());
    return 0;
}

/* Lives outside of the namespace, and all its children inside. */
static int maker(void *argument) {
    (void)argument;
    must(setpgid(0, 0));
    const struct names before = names_now();
    must(unshare(CLONE_NEWPID));
    pid_t first = spawn(init, NULL), second = spawn(plain, (void *)OWN_GROUP), third = spawn(plain, (void *)AS_PARENT);
    child_wait();
    check_names(&before);
    pid_t now = must(fork());
    if (now == 0)
        _exit(late(NULL));
    expect_wait_status(now, 0);
    finish_child(second);
    finish_child(third);
    finish_child(first);
    return 0;
}

/* Has called unshare, and has made no child yet. */
static int future_maker(void *argument) {
    (void)argument;
    must(unshare(CLONE_NEWPID));
    child_wait();
    pid_t now = must(fork());
    if (now == 0)
        _exit(getpid() == 1 ? 0 : 1);
    expect_wait_status(now, 0);
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    orphans = map_shared(PAGE);
    pid_t children[] = {spawn(maker, NULL), spawn(future_maker, NULL)};
    /* The namespace of a zombie. */
    pid_t dead = must(syscall(SYS_clone, SIGCHLD | CLONE_NEWPID, NULL, NULL, NULL, 0L));
    if (dead == 0)
        _exit(exits((void *)3L));
    pid_t killed = must(syscall(SYS_clone, SIGCHLD | CLONE_NEWPID, NULL, NULL, NULL, 0L));
    if (killed == 0)
        for (;;)
            pause();
    must(kill(killed, SIGKILL));
    siginfo_t info;
    must(waitid(P_PID, dead, &info, WEXITED | WNOWAIT));
    must(waitid(P_PID, killed, &info, WEXITED | WNOWAIT));
    test_daemon();
    test_waitsig();
    expect_wait_status(dead, 3 << 8);
    expect_wait_status(killed, SIGKILL);
    for (size_t i = 0; i < ARRAY_SIZE(children); i++)
        finish_child(children[i]);
    return pass();
}
