/*
 * What a program can find out about itself from /proc and kcmp.
 */
#include "zdtm.h"

#include <dirent.h>
#include <linux/kcmp.h>

int64_t now_ns(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

void sleep_ms(long milliseconds) {
    struct timespec left = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    while (nanosleep(&left, &left) && errno == EINTR)
        continue;
}

pid_t gettid_(void) {
    return syscall(SYS_gettid);
}

char *proc_value(const char *path, const char *key) {
    FILE *file = fopen(path, "re");
    if (!file)
        return NULL;
    char *line = NULL, *result = NULL;
    size_t size = 0;
    while (!result && getline(&line, &size, file) > 0) {
        if (strncmp(line, key, strlen(key)))
            continue;
        const char *value = line + strlen(key);
        value += strspn(value, " \t:");
        result = strndup(value, strcspn(value, "\n"));
    }
    free(line);
    fclose(file);
    return result;
}

/* Copies a line of the mapping's block in smaps: its header for key "", else the one that starts with key. */
static bool smaps_line(const void *address, const char *key, char *out, size_t size) {
    FILE *file = fopen("/proc/self/smaps", "re");
    if (!file)
        return false;
    char line[4400];
    bool inside = false, found = false;
    while (!found && fgets(line, sizeof(line), file)) {
        unsigned long start, end;
        char perms[8];
        if (sscanf(line, "%lx-%lx %7s", &start, &end, perms) == 3) {
            if (inside)
                break;
            inside = (unsigned long)address >= start && (unsigned long)address < end;
            found = inside && !*key;
        } else if (inside && !strncmp(line, key, strlen(key))) {
            found = true;
        }
    }
    fclose(file);
    if (found)
        snprintf(out, size, "%s", line);
    return found;
}

long smaps_kb(const void *address, const char *key) {
    char line[4400];
    return smaps_line(address, key, line, sizeof(line)) ? atol(line + strlen(key)) : -1;
}

bool has_vm_flag(const void *address, const char *flag) {
    char line[4400], word[8];
    if (!smaps_line(address, "VmFlags:", line, sizeof(line)))
        return false;
    snprintf(word, sizeof(word), " %s ", flag);
    line[strcspn(line, "\n")] = ' ';
    return strstr(line, word) != NULL;
}

const char *mapping_perms(const void *address) {
    static char perms[8];
    char line[4400];
    perms[0] = 0;
    if (smaps_line(address, "", line, sizeof(line)))
        sscanf(line, "%*x-%*x %7s", perms);
    return perms;
}

uint64_t pagemap_entry(const void *address) {
    uint64_t entry = 0;
    int fd = must(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
    must(pread(fd, &entry, sizeof(entry), (uintptr_t)address / PAGE * sizeof(entry)));
    close(fd);
    return entry;
}

const char *fd_path(int fd) {
    static char target[4096];
    char link[64];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, target, sizeof(target) - 1);
    target[length > 0 ? length : 0] = 0;
    return target;
}

long long fdinfo_value(int fd, const char *key, int base) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    char *text = proc_value(path, key);
    if (!text)
        return -1;
    long long value = strtoll(text, NULL, base);
    free(text);
    return value;
}

bool same_description(pid_t pid1, int fd1, pid_t pid2, int fd2) {
    return syscall(SYS_kcmp, pid1, pid2, KCMP_FILE, fd1, fd2) == 0;
}

int open_fd_count(void) {
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;
    while (dir && readdir(dir))
        count++;
    if (dir)
        closedir(dir);
    /* ".", "..", and the descriptor of the listing itself */
    return count - 3;
}

void write_file(const char *path, const void *data, size_t length) {
    int fd = must(open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644));
    must(write(fd, data, length) == (ssize_t)length ? 0 : -1);
    close(fd);
}
