/* Sessions and process groups whose leaders are gone (reaped) or zombies, while members live on. */
#include "zdtm.h"

struct ids {
    pid_t pid, group, session;
};

static int channel[2];

static int member(void *unused) {
    (void)unused;
    child_wait();
    return 0;
}

/* Leads a session of its own, puts one child into it and one into a new group, and exits. */
static int session_leader(void *keep_group_leader) {
    (void)keep_group_leader;
    must(setsid());
    struct ids ids[3];
    pid_t first = spawn(member, NULL);
    pid_t group_leader = spawn(member, NULL);
    pid_t second = spawn(member, NULL);
    must(setpgid(group_leader, group_leader));
    must(setpgid(second, group_leader));
    ids[0] = (struct ids){first, getpgid(first), getsid(first)};
    ids[1] = (struct ids){second, getpgid(second), getsid(second)};
    ids[2] = (struct ids){group_leader, 0, 0};
    must(kill(group_leader, SIGKILL));
    must(waitpid(group_leader, NULL, 0));
    must(write(channel[1], ids, sizeof(ids)));
    child_ready();
    return 7;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    /* Orphans come to us. */
    must(prctl(PR_SET_CHILD_SUBREAPER, 1));
    must(pipe(channel));
    struct ids reaped[3], zombie[3];
    pid_t leader = spawn(session_leader, NULL);
    must(read(channel[0], reaped, sizeof(reaped)));
    expect_wait_status(leader, 7 << 8);
    pid_t zombie_leader = spawn(session_leader, NULL);
    must(read(channel[0], zombie, sizeof(zombie)));
    siginfo_t info;
    must(waitid(P_PID, zombie_leader, &info, WEXITED | WNOWAIT));
    close(channel[0]);
    close(channel[1]);

    test_daemon();
    test_waitsig();

    for (int i = 0; i < 2; i++) {
        check(getpgid(reaped[i].pid) == reaped[i].group, "group of %d is %d", reaped[i].pid, getpgid(reaped[i].pid));
        check(getsid(reaped[i].pid) == reaped[i].session, "session of %d is %d", reaped[i].pid, getsid(reaped[i].pid));
        check(getpgid(zombie[i].pid) == zombie[i].group, "group of %d is %d", zombie[i].pid, getpgid(zombie[i].pid));
        check(getsid(zombie[i].pid) == zombie[i].session, "session of %d is %d", zombie[i].pid, getsid(zombie[i].pid));
    }
    check(reaped[0].session == leader && kill(leader, 0) == -1 && errno == ESRCH, "the dead leader is back");
    check(kill(reaped[2].pid, 0) == -1 && errno == ESRCH, "the dead group leader is back");
    expect_wait_status(zombie_leader, 7 << 8);
    for (int i = 0; i < 2; i++) {
        finish_child(reaped[i].pid);
        finish_child(zombie[i].pid);
    }
    return pass();
}
