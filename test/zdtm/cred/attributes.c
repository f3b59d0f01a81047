/* Attributes of a process: dumpable, personality, umask, core dump filter, OOM score, login uid, THP, timer slack. */
#include "zdtm.h"

#include <sys/personality.h>

static const unsigned long kPersonality = ADDR_NO_RANDOMIZE | READ_IMPLIES_EXEC | MMAP_PAGE_ZERO | UNAME26;

static void put(const char *path, const char *value) {
    int fd = must(open(path, O_WRONLY | O_CLOEXEC));
    check(write(fd, value, strlen(value)) == (ssize_t)strlen(value), "write %s to %s", value, path);
    close(fd);
}

static void expect(const char *path, const char *value) {
    char *found = proc_value(path, "");
    check(found && !strcmp(found, value), "%s is %s instead of %s", path, found, value);
    free(found);
}

static int not_dumpable(void *unused) {
    (void)unused;
    must(prctl(PR_SET_DUMPABLE, 0));
    child_wait();
    check(prctl(PR_GET_DUMPABLE) == 0, "dumpable %d", prctl(PR_GET_DUMPABLE));
    return 0;
}

static int with_personality(void *unused) {
    (void)unused;
    must(personality(kPersonality));
    child_wait();
    check(personality(0xffffffff) == (int)kPersonality, "personality %#x", personality(0xffffffff));
    return 0;
}

static int with_scores(void *unused) {
    (void)unused;
    put("/proc/self/oom_score_adj", "321");
    put("/proc/self/coredump_filter", "0x7a");
    put("/proc/self/loginuid", "4321");
    umask(0753);
    must(prctl(PR_SET_TIMERSLACK, 777777));
    must(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
    child_wait();
    expect("/proc/self/oom_score_adj", "321");
    expect("/proc/self/coredump_filter", "0000007a");
    expect("/proc/self/loginuid", "4321");
    check(umask(0) == 0753, "umask");
    check(prctl(PR_GET_TIMERSLACK) == 777777, "timer slack %d", prctl(PR_GET_TIMERSLACK));
    check(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1, "THP attribute");
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    char *loginuid = proc_value("/proc/self/loginuid", ""), *oom = proc_value("/proc/self/oom_score_adj", "");
    pid_t children[] = {spawn(not_dumpable, NULL), spawn(with_personality, NULL), spawn(with_scores, NULL)};
    test_daemon();
    test_waitsig();
    expect("/proc/self/loginuid", loginuid);
    expect("/proc/self/oom_score_adj", oom);
    check(prctl(PR_GET_DUMPABLE) == 1 && personality(0xffffffff) == 0, "the parent's attributes");
    check(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 0, "the parent's THP attribute");
    for (size_t i = 0; i < ARRAY_SIZE(children); i++)
        finish_child(children[i]);
    return pass();
}
