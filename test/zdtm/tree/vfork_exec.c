/* A program that is nearly always in vfork, as shells and make are at times: a dump has to find it between two
 * children. The child sleeps in its parent's memory before it becomes another program. */
#include "zdtm.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    char *const command[] = {"/bin/true", NULL};
    test_daemon();
    while (test_go()) {
        pid_t child = vfork();
        if (child == 0) {
            sleep_ms(10);
            execv(command[0], command);
            _exit(99);
        }
        must(child);
        int status;
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
            continue; /* by the signal that ends the test */
        check(status == 0, "wait status %#x", status);
    }
    return pass();
}
