/* The deadline scheduling policy with its parameters. */
#include "zdtm.h"

struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

int main(int argc, char **argv) {
    test_init(argc, argv);
    struct attributes wanted = {48, 6 /* SCHED_DEADLINE */, 0, 0, 0, 5000000, 20000000, 30000000}, found = {0};
    must(syscall(SYS_sched_setattr, 0, &wanted, 0));
    test_daemon();
    test_waitsig();
    must(syscall(SYS_sched_getattr, 0, &found, sizeof(found), 0));
    check(found.policy == 6 && found.runtime == 5000000 && found.deadline == 20000000 && found.period == 30000000,
          "policy %u with %lu %lu %lu", found.policy, found.runtime, found.deadline, found.period);
    return pass();
}
