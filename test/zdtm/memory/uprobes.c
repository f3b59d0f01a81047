/* A function that somebody outside of the tree probes (uprobes): the kernel has put a breakpoint into its code, and a
 * mapping of its own beside it. With --allow-uprobes the tree comes back, and the probe is still hit. */
#include "zdtm.h"

#include <linux/perf_event.h>

static volatile int calls;

__attribute__((noinline)) int probed(int number) {
    calls++;
    return number * 2 + 1;
}

/* Where a function lies in the file that it comes from. */
static uint64_t offset_in_program(void *function) {
    FILE *maps = fopen("/proc/self/maps", "r");
    uint64_t address = (uint64_t)function, start, end, offset;
    char line[512];
    while (maps && fgets(line, sizeof(line), maps))
        if (sscanf(line, "%lx-%lx %*s %lx", &start, &end, &offset) == 3 && start <= address && address < end) {
            fclose(maps);
            return address - start + offset;
        }
    return 0;
}

static int probe(const char *program, uint64_t offset) {
    int type = -1;
    FILE *file = fopen("/sys/bus/event_source/devices/uprobe/type", "r");
    if (!file || fscanf(file, "%d", &type) != 1)
        return -1;
    fclose(file);
    struct perf_event_attr attr = {
        .type = type, .size = sizeof(attr), .uprobe_path = (uint64_t)program, .probe_offset = offset};
    return syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
}

/* Outside of the tree until there is a file `stop`, or a minute has passed. */
static void start_prober(void) {
    char program[512] = {0};
    must(readlink("/proc/self/exe", program, sizeof(program) - 1));
    uint64_t offset = offset_in_program(probed);
    pid_t child = must(fork());
    if (!child) {
        setsid();
        prctl(PR_SET_NAME, "prober");
        if (fork())
            _exit(0);
        for (int fd = 0; fd < 64; fd++)
            close(fd);
        if (probe(program, offset) >= 0)
            close(open("probing", O_CREAT | O_WRONLY, 0600));
        for (int i = 0; i < 6000 && access("stop", F_OK); i++)
            usleep(10000);
        unlink("probing");
        _exit(0);
    }
    waitpid(child, NULL, 0);
    for (int i = 0; i < 500 && access("probing", F_OK); i++)
        usleep(10000);
}

static bool has_mapping_of_probes(void) {
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    bool found = false;
    while (maps && fgets(line, sizeof(line), maps))
        found |= strstr(line, "[uprobes]") != NULL;
    fclose(maps);
    return found;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    start_prober();
    check(access("probing", F_OK) == 0, "the probe cannot be set");
    check(probed(3) == 7 && has_mapping_of_probes(), "the probe is not hit");
    test_daemon();
    test_waitsig();
    check(probed(4) == 9 && calls == 2, "the function: %d calls", calls);
    check(has_mapping_of_probes(), "the probe is not hit any more");
    close(open("stop", O_CREAT | O_WRONLY, 0600));
    for (int i = 0; i < 500 && access("probing", F_OK) == 0; i++)
        usleep(10000);
    sleep_ms(100); /* it is gone */
    return pass();
}
