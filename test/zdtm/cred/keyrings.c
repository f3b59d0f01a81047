/* Keys in a session keyring and in a process keyring of a program's own: nobody can make them again, so the dump says. */
#include "zdtm.h"

#include <linux/keyctl.h>

static long add(const char *name, long keyring) {
    return must(syscall(SYS_add_key, "user", name, "secret", 6, keyring));
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, "of the test"));
    add("one", KEY_SPEC_SESSION_KEYRING);
    add("two", KEY_SPEC_PROCESS_KEYRING);
    test_daemon();
    test_waitsig();
    return pass();
}
