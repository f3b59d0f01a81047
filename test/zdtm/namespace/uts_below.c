/* Host names of tasks below the root: each has its own namespace, or its parent's. */
#include "zdtm.h"

#include <sys/utsname.h>

static const char *const kNames[] = {"first-name", "second-name"};

static void check_name(const char *name) {
    struct utsname names;
    must(uname(&names));
    check(!strcmp(names.nodename, name), "the host is called %s, not %s", names.nodename, name);
}

static int companion(void *argument) {
    child_wait();
    check_name(argument);
    must(sethostname("changed", 7));
    return 0;
}

static int body(void *argument) {
    const long level = (long)argument;
    must(unshare(CLONE_NEWUTS));
    must(sethostname(kNames[level], strlen(kNames[level])));
    must(setdomainname("domain", 6));
    pid_t deeper = level == 0 ? spawn(body, (void *)1L) : 0, with_us = spawn(companion, (void *)kNames[level]);
    child_wait();
    check_name(kNames[level]);
    struct utsname names;
    must(uname(&names));
    check(!strcmp(names.domainname, "domain"), "the domain is called %s", names.domainname);
    finish_child(with_us);
    check_name("changed"); /* it was ours that the companion has changed */
    if (deeper)
        finish_child(deeper);
    return 0;
}

int main(int argc, char **argv) {
    struct utsname before, after;
    test_init(argc, argv);
    must(uname(&before));
    pid_t child = spawn(body, (void *)0L);
    test_daemon();
    test_waitsig();
    must(uname(&after));
    check(!strcmp(before.nodename, after.nodename), "the host is called %s, not %s", after.nodename, before.nodename);
    finish_child(child);
    must(uname(&after));
    check(!strcmp(before.nodename, after.nodename), "a task below has changed our name");
    return pass();
}
