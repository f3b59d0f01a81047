/* Resource limits: soft and hard ones, different for every resource, and in force. */
#include "zdtm.h"

#include <sys/resource.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    struct rlimit before[RLIM_NLIMITS], now;
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        must(getrlimit(i, &now));
        rlim_t hard = now.rlim_max;
        /* Hard limits can only be lowered here; memory limits stay high enough to live. */
        if (i != RLIMIT_AS && i != RLIMIT_DATA && i != RLIMIT_STACK && i != RLIMIT_CPU && i != RLIMIT_FSIZE &&
            hard > 100)
            hard = hard == RLIM_INFINITY ? (rlim_t)(5000000 + i) : hard - i;
        rlim_t soft = hard == RLIM_INFINITY ? (1ul << 40) + i * PAGE : hard - (hard > 10 ? i : 0);
        must(setrlimit(i, &(struct rlimit){soft, hard}));
        must(getrlimit(i, &before[i]));
    }
    must(setrlimit(RLIMIT_NOFILE, &(struct rlimit){20, 100}));
    must(getrlimit(RLIMIT_NOFILE, &before[RLIMIT_NOFILE]));
    test_daemon();
    test_waitsig();
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        must(getrlimit(i, &now));
        check(now.rlim_cur == before[i].rlim_cur && now.rlim_max == before[i].rlim_max,
              "limit %d: %lu %lu instead of %lu %lu", i, now.rlim_cur, now.rlim_max, before[i].rlim_cur,
              before[i].rlim_max);
    }
    check(dup2(0, 25) == -1 && errno == EBADF, "limit of descriptors is not in force");
    return pass();
}
