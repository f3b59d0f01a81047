/* Restartable sequences: the registration of every thread, and a critical section that is cut by the checkpoint. */
#include "zdtm.h"

#include <linux/rseq.h>
#include <pthread.h>
#include <sys/rseq.h>

static volatile int stop, entered;
static volatile int64_t begun;

static struct rseq *area(void) {
    return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

static char *start_time(void) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", gettid_());
    FILE *file = fopen(path, "re");
    char *text = NULL;
    size_t size = 0;
    must(getline(&text, &size, file));
    fclose(file);
    char *field = strrchr(text, ')') + 2;
    for (int i = 0; i < 19; i++)
        field = strchr(field, ' ') + 1;
    field[strcspn(field, " ")] = 0;
    return field;
}

/* True if the section was committed, false if the kernel sent it to its abort handler. */
static bool spin_in_section(void) {
    __asm__ goto(".pushsection __rseq_cs, \"aw\"\n"
                 ".balign 32\n"
                 "9: .long 0, 0\n"
                 ".quad 1f, 2f - 1f, 4f\n"
                 ".popsection\n"
                 "lea 9b(%%rip), %%rax\n"
                 "mov %%rax, %c[offset](%[area])\n"
                 "1: cmpl $0, (%[stop])\n"
                 "je 1b\n"
                 "2: jmp 5f\n"
                 ".byte 0x0f, 0xb9, 0x3d\n"
                 ".long 0x53053053\n"
                 "4: jmp %l[aborted]\n"
                 "5:\n"
                 :
                 : [area] "r"(area()), [stop] "r"(&stop), [offset] "i"(offsetof(struct rseq, rseq_cs))
                 : "rax", "memory", "cc"
                 : aborted);
    return true;
aborted:
    return false;
}

static void *body(void *unused) {
    do {
        begun = now_ns(CLOCK_MONOTONIC);
        entered = 1;
    } while (!spin_in_section());
    return unused;
}

/* The kernel keeps the processor number in a registered area up to date. */
static void check_registered(const char *who) {
    for (long cpu = 0; cpu < sysconf(_SC_NPROCESSORS_ONLN); cpu++) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(cpu, &set);
        must(sched_setaffinity(0, sizeof(set), &set));
        check(*(volatile uint32_t *)&area()->cpu_id == cpu, "%s: processor %u instead of %ld", who, area()->cpu_id,
              cpu);
    }
    long again = syscall(SYS_rseq, area(), sizeof(struct rseq), 0, 0x53053053);
    check(again == -1 && (errno == EBUSY || errno == EINVAL), "%s: area could be registered again", who);
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    check(__rseq_size > 0, "the C library has registered no area");
    char *start = start_time();
    pthread_t thread;
    must(pthread_create(&thread, NULL, body, NULL) ? -1 : 0);
    while (!entered)
        sleep_ms(1);
    sleep_ms(20);
    int64_t ready = now_ns(CLOCK_MONOTONIC);
    test_daemon();
    test_waitsig();
    stop = 1;
    pthread_join(thread, NULL);
    /* Another start time means that we were restored: a section from before must have been aborted. */
    if (strcmp(start, start_time()))
        check(begun > ready, "a critical section survived the checkpoint");
    check_registered("leader");
    return pass();
}
