/* Secure bits with their locks, and keep-capabilities, which a change of user would reset. */
#include "zdtm.h"

#include <linux/securebits.h>

static int locked(void *unused) {
    (void)unused;
    int bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP | SECBIT_KEEP_CAPS_LOCKED |
               SECBIT_NO_CAP_AMBIENT_RAISE;
    must(prctl(PR_SET_SECUREBITS, bits));
    child_wait();
    check(prctl(PR_GET_SECUREBITS) == bits, "secure bits %#x", prctl(PR_GET_SECUREBITS));
    check(prctl(PR_SET_SECUREBITS, 0) == -1 && errno == EPERM, "lock is not in force");
    return 0;
}

static int keep(void *unused) {
    (void)unused;
    must(prctl(PR_SET_KEEPCAPS, 1));
    child_wait();
    check(prctl(PR_GET_KEEPCAPS) == 1, "keep-capabilities is lost");
    return 0;
}

static int keep_as_other_user(void *unused) {
    (void)unused;
    must(prctl(PR_SET_KEEPCAPS, 1));
    must(setresuid(1234, 1234, 1234));
    must(prctl(PR_SET_KEEPCAPS, 1));
    child_wait();
    check(prctl(PR_GET_KEEPCAPS) == 1, "keep-capabilities of another user is lost");
    char *permitted = proc_value("/proc/self/status", "CapPrm"), *effective = proc_value("/proc/self/status", "CapEff");
    check(strtoull(permitted, NULL, 16) != 0 && strtoull(effective, NULL, 16) == 0, "capabilities %s %s", permitted,
          effective);
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pid_t children[] = {spawn(locked, NULL), spawn(keep, NULL), spawn(keep_as_other_user, NULL)};
    test_daemon();
    test_waitsig();
    check(prctl(PR_GET_SECUREBITS) == 0 && prctl(PR_GET_KEEPCAPS) == 0, "attributes of the parent");
    for (size_t i = 0; i < ARRAY_SIZE(children); i++)
        kill(children[i], SIGTERM);
    for (size_t i = 0; i < ARRAY_SIZE(children); i++)
        expect_wait_status(children[i], 0);
    return pass();
}
