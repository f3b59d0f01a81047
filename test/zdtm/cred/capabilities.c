/* Capability sets: permitted, effective, inheritable, bounding and ambient, all different; and per thread. */
#include "zdtm.h"

#include <linux/capability.h>
#include <pthread.h>

struct sets {
    struct __user_cap_data_struct data[2];
    uint64_t bounding, ambient;
};

static pthread_barrier_t barrier;

static void read_sets(struct sets *s) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    memset(s, 0, sizeof(*s));
    must(syscall(SYS_capget, &header, s->data));
    for (unsigned cap = 0; cap <= 40; cap++) {
        s->bounding |= (uint64_t)(prctl(PR_CAPBSET_READ, cap) == 1) << cap;
        s->ambient |= (uint64_t)(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) == 1) << cap;
    }
}

static void set(uint32_t permitted, uint32_t effective, uint32_t inheritable) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{effective, permitted, inheritable}, {0, 0, 0}};
    must(syscall(SYS_capset, &header, data));
}

static void compare(const struct sets *before, const char *who) {
    struct sets now;
    read_sets(&now);
    for (int i = 0; i < 2; i++) {
        check(now.data[i].permitted == before->data[i].permitted, "%s: permitted %#x", who, now.data[i].permitted);
        check(now.data[i].effective == before->data[i].effective, "%s: effective %#x", who, now.data[i].effective);
        check(now.data[i].inheritable == before->data[i].inheritable, "%s: inheritable %#x", who,
              now.data[i].inheritable);
    }
    check(now.bounding == before->bounding, "%s: bounding %#lx", who, now.bounding);
    check(now.ambient == before->ambient, "%s: ambient %#lx", who, now.ambient);
}

static void *body(void *argument) {
    struct sets before;
    must(prctl(PR_CAPBSET_DROP, CAP_SYS_BOOT));
    set(0xff, 0x0f, 0x3f);
    read_sets(&before);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    compare(&before, "thread");
    return argument;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, 2);
    must(pthread_create(&thread, NULL, body, NULL) ? -1 : 0);
    pthread_barrier_wait(&barrier);
    for (int cap = 30; cap < 36; cap++)
        must(prctl(PR_CAPBSET_DROP, cap));
    struct sets whole;
    read_sets(&whole);
    uint32_t all = whole.data[0].permitted;
    set(all & ~(1u << CAP_SYS_TTY_CONFIG), all & ~(1u << CAP_SYS_NICE | 1u << CAP_SYS_TTY_CONFIG),
        1u << CAP_NET_RAW | 1u << CAP_CHOWN);
    must(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0));
    struct sets before;
    read_sets(&before);
    test_daemon();
    test_waitsig();
    compare(&before, "leader");
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    return pass();
}
