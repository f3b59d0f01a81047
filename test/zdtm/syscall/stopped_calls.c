/* Stopped in the middle of a system call, and sent a signal before they go on: the handler must end the call with EINTR,
 * as if it had never been interrupted by anything else. */
#include "zdtm.h"

#include <poll.h>
#include <sys/select.h>
#include <sys/wait.h>

static volatile int handled;

static void on_usr1(int number) {
    handled = number;
}

static int in_pause(void) {
    return pause();
}
static int in_nanosleep(void) {
    return nanosleep(&(struct timespec){1000, 0}, NULL);
}
static int in_poll(void) {
    return poll(NULL, 0, 1000000);
}
static int in_select(void) {
    return select(0, NULL, NULL, NULL, NULL);
}
static int in_sigsuspend(void) {
    sigset_t none;
    sigemptyset(&none);
    return sigsuspend(&none);
}
static int in_read(void) {
    int ends[2];
    char byte;
    must(pipe(ends));
    return (int)read(ends[0], &byte, 1);
}
static int in_wait(void) {
    pid_t child = must(fork());
    if (child == 0) {
        must(prctl(PR_SET_PDEATHSIG, SIGKILL));
        for (;;)
            pause();
    }
    int result = waitpid(child, NULL, 0), error = errno;
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    errno = error;
    return result;
}

static int (*const kCalls[])(void) = {in_pause, in_nanosleep, in_poll, in_select, in_sigsuspend, in_read, in_wait};
enum { kCount = sizeof(kCalls) / sizeof(kCalls[0]) };

/* Whether it sleeps in a call, by what /proc says. */
static void wait_until(pid_t pid, char wanted) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    for (char *state;;) {
        state = proc_value(path, "State:");
        if (state && state[0] == wanted)
            return;
        sleep_ms(1);
    }
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pid_t children[kCount];
    for (int i = 0; i < kCount; i++) {
        children[i] = must(fork());
        if (children[i] == 0) {
            struct sigaction action = {.sa_handler = on_usr1}; /* without SA_RESTART */
            sigaction(SIGUSR1, &action, NULL);
            int result = kCalls[i](), error = errno;
            _exit(result == -1 && error == EINTR && handled == SIGUSR1 ? 0 : 1);
        }
        wait_until(children[i], 'S');
        sleep_ms(20); /* the last sleep before the call is over */
        kill(children[i], SIGSTOP);
        wait_until(children[i], 'T');
    }
    test_daemon();
    test_waitsig();
    for (int i = 0; i < kCount; i++) {
        wait_until(children[i], 'T');
        kill(children[i], SIGUSR1);
        kill(children[i], SIGCONT);
        expect_wait_status(children[i], 0);
    }
    return pass();
}
