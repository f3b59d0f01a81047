/* Command line, environment, auxiliary vector, executable link and name of the process. */
#include "zdtm.h"

#include <sys/auxv.h>

static size_t slurp(const char *path, char *buffer, size_t size) {
    int fd = must(open(path, O_RDONLY | O_CLOEXEC));
    size_t length = 0;
    ssize_t n;
    while (length < size && (n = read(fd, buffer + length, size - length)) > 0)
        length += n;
    close(fd);
    return length;
}

static const char *const kFiles[] = {"/proc/self/cmdline", "/proc/self/environ", "/proc/self/auxv", "/proc/self/comm"};

int main(int argc, char **argv) {
    static char before[ARRAY_SIZE(kFiles)][16384], after[16384];
    size_t length[ARRAY_SIZE(kFiles)];
    char exe[4096] = {0}, exe_after[4096] = {0};

    test_init(argc, argv);
    must(setenv("ZDTM_ENVIRONMENT", "set after start", 1));
    must(prctl(PR_SET_NAME, "odd) name\n("));
    for (size_t i = 0; i < ARRAY_SIZE(kFiles); i++)
        length[i] = slurp(kFiles[i], before[i], sizeof(before[i]));
    must(readlink("/proc/self/exe", exe, sizeof(exe) - 1));
    unsigned long random_address = getauxval(AT_RANDOM);
    char random_bytes[16];
    memcpy(random_bytes, (void *)random_address, 16);

    test_daemon();
    test_waitsig();

    for (size_t i = 0; i < ARRAY_SIZE(kFiles); i++) {
        size_t now = slurp(kFiles[i], after, sizeof(after));
        check(now == length[i] && !memcmp(after, before[i], now), "%s differs", kFiles[i]);
    }
    must(readlink("/proc/self/exe", exe_after, sizeof(exe_after) - 1));
    check(!strcmp(exe, exe_after), "executable is %s", exe_after);
    check(!strcmp(getenv("ZDTM_ENVIRONMENT") ?: "", "set after start"), "environment lost");
    check(!memcmp(random_bytes, (void *)getauxval(AT_RANDOM), 16), "AT_RANDOM differs");
    return pass();
}
