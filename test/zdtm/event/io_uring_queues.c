/* io_uring: completions that nobody has seen, requests that were not submitted, counters beyond the size of the queues,
 * registered buffers, with and without an array of indices. */
#include "uring.h"

enum { kRounds = 1000, kRings = 2 };
static struct uring rings[kRings];
static uint8_t buffer[8192] __attribute__((aligned(4096)));

static void nothing(struct uring *ring, uint64_t data) {
    uring_next(ring, IORING_OP_NOP, data);
    check(uring_enter(ring, 1, 0) == 1, "submit");
}

static void prepare(struct uring *ring, int file) {
    struct io_uring_cqe done;
    for (int i = 0; i < kRounds; i++) {
        nothing(ring, i);
        check(uring_take(ring, &done) && done.user_data == (uint64_t)i, "completion %d", i);
    }
    must(syscall(SYS_io_uring_register, ring->fd, IORING_REGISTER_BUFFERS,
                 &(struct iovec){buffer, sizeof(buffer)}, 1));
    nothing(ring, 5001), nothing(ring, 5002); /* not seen */
    struct io_uring_sqe *request = uring_next(ring, IORING_OP_READ_FIXED, 6001); /* not submitted */
    request->fd = file;
    request->addr = (uintptr_t)buffer;
    request->len = 512;
}

static void verify(struct uring *ring, const uint8_t *data) {
    struct io_uring_cqe done;
    for (uint64_t wanted = 5001; wanted <= 5002; wanted++)
        check(uring_take(ring, &done) && done.user_data == wanted && done.res == 0, "the completion %ld is lost",
              (long)wanted);
    check(!uring_take(ring, &done), "more completions than before");
    memset(buffer, 0, sizeof(buffer));
    check(uring_enter(ring, 1, 1) == 1, "the request that waited cannot be submitted");
    check(uring_take(ring, &done) && done.user_data == 6001 && done.res == 512, "result %d", done.res);
    check(!memcmp(buffer, data, 512), "data");
    for (int i = 0; i < 100; i++) {
        nothing(ring, i);
        check(uring_take(ring, &done) && done.user_data == (uint64_t)i && done.res == 0, "request %d afterwards", i);
    }
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    uint8_t data[512];
    datagen(data, sizeof(data), NULL);
    write_file(test_filename, data, sizeof(data));
    int file = must(open(test_filename, O_RDONLY)), count = 1;
    must(uring_setup(&rings[0], 8, 0));
    if (uring_setup(&rings[1], 64, SETUP_NO_SQARRAY) == 0)
        count = 2;
    for (int i = 0; i < count; i++)
        prepare(&rings[i], file);
    test_daemon();
    test_waitsig();
    for (int i = 0; i < count; i++)
        verify(&rings[i], data);
    return pass();
}
