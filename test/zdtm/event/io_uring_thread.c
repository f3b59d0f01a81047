/* An io_uring instance with a kernel thread that submits (SQPOLL), with the credentials of the program, not of the restore. */
#include "zdtm.h"

#include <linux/io_uring.h>

static struct io_uring_params parameters = {.flags = IORING_SETUP_SQPOLL, .sq_thread_idle = 30};
static uint8_t *rings;
static struct io_uring_sqe *entries;

static int request(int ring, int operation, int fd, const char *path, char *to, unsigned length) {
    uint32_t *tail = (void *)(rings + parameters.sq_off.tail), *array = (void *)(rings + parameters.sq_off.array);
    uint32_t *flags = (void *)(rings + parameters.sq_off.flags);
    uint32_t index = *tail & *(uint32_t *)(rings + parameters.sq_off.ring_mask);
    memset(&entries[index], 0, sizeof(entries[index]));
    entries[index].opcode = operation;
    entries[index].fd = fd;
    entries[index].addr = (uintptr_t)(path ? path : to);
    entries[index].len = length;
    array[index] = index;
    __atomic_store_n(tail, *tail + 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(flags, __ATOMIC_SEQ_CST) & IORING_SQ_NEED_WAKEUP)
        must(syscall(SYS_io_uring_enter, ring, 1, 0, IORING_ENTER_SQ_WAKEUP, NULL, 0));
    uint32_t *head = (void *)(rings + parameters.cq_off.head), *ready = (void *)(rings + parameters.cq_off.tail);
    for (int i = 0; i < 5000 && __atomic_load_n(ready, __ATOMIC_ACQUIRE) == *head; i++)
        sleep_ms(1);
    check(*ready != *head, "the thread has not submitted");
    const struct io_uring_cqe *completions = (void *)(rings + parameters.cq_off.cqes);
    int result = completions[*head & *(uint32_t *)(rings + parameters.cq_off.ring_mask)].res;
    __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
    return result;
}

static void verify(int ring, int file, const char *secret) {
    char text[5] = "";
    lseek(file, 0, SEEK_SET);
    check(request(ring, IORING_OP_READ, file, NULL, text, 4) == 4 && !strcmp(text, "open"), "reading: %s", text);
    check(request(ring, IORING_OP_OPENAT, AT_FDCWD, secret, NULL, 0600) == -EACCES, "it opens what the program may not");
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    char secret[200];
    snprintf(secret, sizeof secret, "%s.secret", test_filename);
    write_file(secret, "no", 2);
    must(chmod(secret, 0600));
    write_file(test_filename, "open", 4);
    int file = must(open(test_filename, O_RDONLY));
    must(setresgid(1000, 1000, 1000));
    must(setresuid(1000, 1000, 1000));
    must(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
    int ring = must(syscall(SYS_io_uring_setup, 8, &parameters));
    size_t size = parameters.cq_off.cqes + parameters.cq_entries * sizeof(struct io_uring_cqe);
    rings = (void *)must(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING));
    entries = (void *)must(mmap(NULL, parameters.sq_entries * sizeof(*entries), PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES));
    verify(ring, file, secret);
    test_daemon();
    test_waitsig();
    for (int i = 0; i < 10; i++) {
        verify(ring, file, secret);
        sleep_ms(i == 5 ? 100 : 1); /* long enough for the thread to sleep */
    }
    return pass();
}
