/* An idle io_uring instance: rings at their addresses, and requests after restore. */
#include "zdtm.h"

#include <linux/io_uring.h>

static struct io_uring_params parameters;
static uint8_t *rings;
static struct io_uring_sqe *entries;

static void submit_and_check(int fd, int file, const uint8_t *wanted, uint64_t data) {
    static uint8_t buffer[512];
    uint32_t *tail = (void *)(rings + parameters.sq_off.tail), *array = (void *)(rings + parameters.sq_off.array);
    uint32_t mask = *(uint32_t *)(rings + parameters.sq_off.ring_mask), index = *tail & mask;
    memset(buffer, 0, sizeof(buffer));
    memset(&entries[index], 0, sizeof(entries[index]));
    entries[index].opcode = IORING_OP_READ;
    entries[index].fd = file;
    entries[index].addr = (uintptr_t)buffer;
    entries[index].len = sizeof(buffer);
    entries[index].user_data = data;
    array[index] = index;
    __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
    check(syscall(SYS_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1, "io_uring_enter");
    uint32_t *head = (void *)(rings + parameters.cq_off.head);
    const struct io_uring_cqe *completions = (void *)(rings + parameters.cq_off.cqes);
    const struct io_uring_cqe *completion = &completions[*head & *(uint32_t *)(rings + parameters.cq_off.ring_mask)];
    check(completion->user_data == data && completion->res == sizeof(buffer), "completion: %d", completion->res);
    __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
    check(!memcmp(buffer, wanted, sizeof(buffer)), "data");
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    uint8_t data[512];
    datagen(data, sizeof(data), NULL);
    write_file(test_filename, data, sizeof(data));
    int file = must(open(test_filename, O_RDONLY)), fd = must(syscall(SYS_io_uring_setup, 8, &parameters));
    size_t size = parameters.cq_off.cqes + parameters.cq_entries * sizeof(struct io_uring_cqe);
    rings = (void *)must(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING));
    entries = (void *)must(
        mmap(NULL, parameters.sq_entries * sizeof(*entries), PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES));
    for (int i = 0; i < 3; i++)
        submit_and_check(fd, file, data, i);
    test_daemon();
    test_waitsig();
    for (int i = 0; i < 20; i++) {
        lseek(file, 0, SEEK_SET);
        submit_and_check(fd, file, data, 100 + i);
    }
    return pass();
}
