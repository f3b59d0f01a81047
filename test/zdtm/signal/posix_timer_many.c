/* Hundreds of POSIX timers with sparse ids: the ids must come back, and at a price that does not grow with the gaps. */
#include "zdtm.h"

#define CREATED 20000
#define EVERY 100

int main(int argc, char **argv) {
    test_init(argc, argv);
    static int kept[CREATED / EVERY];
    struct sigevent event = {.sigev_notify = SIGEV_NONE};
    for (int i = 0; i < CREATED; i++) {
        int id;
        must(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id));
        if (i % EVERY)
            must(syscall(SYS_timer_delete, id));
        else
            kept[i / EVERY] = id;
    }
    test_daemon();
    test_waitsig();
    for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
        struct itimerspec time;
        check(syscall(SYS_timer_gettime, kept[i], &time) == 0, "timer %d is gone", kept[i]);
    }
    int next;
    check(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &next) == 0, "timer_create");
    check(syscall(SYS_timer_gettime, kept[0] + 1, &(struct itimerspec){0}) == -1 && errno == EINVAL,
          "a deleted timer is back");
    return pass();
}
