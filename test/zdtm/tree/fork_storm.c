/* Children that come and go all the time, so that the checkpoint falls into forks, exits and waits. */
#include "zdtm.h"

#define WORKERS 3

static int worker(void *unused) {
    (void)unused;
    child_ready();
    for (unsigned round = 0; test_go(); round++) {
        pid_t pids[4];
        for (int i = 0; i < 4; i++) {
            pids[i] = fork();
            check(pids[i] >= 0, "fork");
            if (pids[i] == 0)
                _exit((round + i) & 0x7f);
        }
        for (int i = 0; i < 4; i++) {
            int status;
            pid_t found;
            while ((found = waitpid(pids[i], &status, 0)) == -1 && errno == EINTR)
                continue;
            check(found == pids[i] && status == (int)((round + i) & 0x7f) << 8, "round %u: wait status %#x", round,
                  status);
        }
    }
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pid_t pids[WORKERS];
    for (int i = 0; i < WORKERS; i++)
        pids[i] = spawn(worker, NULL);
    test_daemon();
    test_waitsig();
    for (int i = 0; i < WORKERS; i++)
        finish_child(pids[i]);
    return pass();
}
