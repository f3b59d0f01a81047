/* Working directories and open directories below /proc of tasks that have ended. */
#include "zdtm.h"

static int body(void *unused) {
    (void)unused;
    child_ready();
    test_waitsig();
    return 0;
}

static bool leads_nowhere(int directory) {
    return openat(directory, "stat", O_RDONLY) == -1 && (errno == ESRCH || errno == ENOENT);
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    char path[64];
    pid_t child = spawn(body, NULL);
    snprintf(path, sizeof path, "/proc/%d", child);
    int directory = must(open(path, O_RDONLY | O_DIRECTORY));
    snprintf(path, sizeof path, "/proc/%d/task/%d", child, child);
    int thread = must(open(path, O_PATH | O_DIRECTORY));
    snprintf(path, sizeof path, "/proc/%d/task", child);
    must(chdir(path));
    finish_child(child);
    test_daemon();
    test_waitsig();
    check(leads_nowhere(directory), "the directory leads to a living task");
    check(leads_nowhere(thread), "the thread's directory leads to a living one");
    check(leads_nowhere(AT_FDCWD), "the working directory leads to a living task");
    check(kill(child, 0) == -1 && errno == ESRCH, "the dead task is back");
    return pass();
}
