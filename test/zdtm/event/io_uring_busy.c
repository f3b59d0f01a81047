/* An io_uring instance with a request under way is refused, and the program goes on with it. */
#include "uring.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    struct uring ring;
    int ends[2];
    char byte = 0;
    must(pipe(ends));
    must(uring_setup(&ring, 4, 0));
    struct io_uring_sqe *request = uring_next(&ring, IORING_OP_READ, 7);
    request->fd = ends[0];
    request->addr = (uintptr_t)&byte;
    request->len = 1;
    request->off = (uint64_t)-1;
    check(uring_enter(&ring, 1, 0) == 1, "submit");
    test_daemon();
    test_waitsig();
    must(write(ends[1], "x", 1));
    struct io_uring_cqe done;
    check(uring_enter(&ring, 0, 1) == 0 && uring_take(&ring, &done), "no completion");
    check(done.user_data == 7 && done.res == 1 && byte == 'x', "result %d", done.res);
    return pass();
}
