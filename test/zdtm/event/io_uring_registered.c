/* An io_uring instance with registered files, an empty place among them, and an eventfd that is told of completions. */
#include "zdtm.h"

#include <linux/io_uring.h>
#include <sys/eventfd.h>

static struct io_uring_params parameters;
static uint8_t *rings;
static struct io_uring_sqe *entries;

/* Reads by the number of a registered file; returns the result. */
static int read_registered(int ring, int number, char *to) {
    uint32_t *tail = (void *)(rings + parameters.sq_off.tail), *array = (void *)(rings + parameters.sq_off.array);
    uint32_t index = *tail & *(uint32_t *)(rings + parameters.sq_off.ring_mask);
    memset(&entries[index], 0, sizeof(entries[index]));
    entries[index].opcode = IORING_OP_READ;
    entries[index].flags = IOSQE_FIXED_FILE;
    entries[index].fd = number;
    entries[index].addr = (uintptr_t)to;
    entries[index].len = 4;
    array[index] = index;
    __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
    check(syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1, "io_uring_enter");
    uint32_t *head = (void *)(rings + parameters.cq_off.head);
    const struct io_uring_cqe *completions = (void *)(rings + parameters.cq_off.cqes);
    int result = completions[*head & *(uint32_t *)(rings + parameters.cq_off.ring_mask)].res;
    __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
    return result;
}

static void verify(int ring, int events) {
    char text[5] = "";
    uint64_t count = 0;
    check(read_registered(ring, 0, text) == 4 && !strcmp(text, "aaaa"), "the first file: %s", text);
    check(read_registered(ring, 1, text) == -EBADF, "the empty place");
    check(read_registered(ring, 2, text) == 4 && !strcmp(text, "bbbb"), "the third file: %s", text);
    check(read(events, &count, sizeof count) == sizeof count && count == 3, "the eventfd has %ld", (long)count);
}

static int file_of(const char *text, int number) {
    char path[200];
    snprintf(path, sizeof path, "%s.%d", test_filename, number);
    write_file(path, text, strlen(text));
    return must(open(path, O_RDONLY));
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    int files[3] = {file_of("aaaaaaaa", 1), -1, file_of("bbbbbbbb", 2)};
    int events = must(eventfd(0, EFD_NONBLOCK)), other = must(eventfd(5, EFD_NONBLOCK));
    int ring = must(syscall(SYS_io_uring_setup, 8, &parameters));
    size_t size = parameters.cq_off.cqes + parameters.cq_entries * sizeof(struct io_uring_cqe);
    rings = (void *)must(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING));
    entries = (void *)must(mmap(NULL, parameters.sq_entries * sizeof(*entries), PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES));
    must(syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, files, 3));
    must(syscall(SYS_io_uring_register, ring, IORING_REGISTER_EVENTFD, &events, 1));
    verify(ring, events);
    test_daemon();
    test_waitsig();
    verify(ring, events);
    check(read(other, &(uint64_t){0}, 8) == 8, "another eventfd is not as it was");
    return pass();
}
