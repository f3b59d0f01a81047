/* AIO contexts: the ring at its address, events not yet fetched, and requests submitted after restore. */
#include "zdtm.h"

#include <linux/aio_abi.h>

static int submit(aio_context_t context, int fd, uint8_t *buffer, size_t length, off_t offset, uint64_t data) {
    struct iocb request = {.aio_data = data,
                           .aio_lio_opcode = IOCB_CMD_PREAD,
                           .aio_fildes = fd,
                           .aio_buf = (uintptr_t)buffer,
                           .aio_nbytes = length,
                           .aio_offset = offset};
    struct iocb *list[] = {&request};
    return syscall(SYS_io_submit, context, 1, list);
}

static int fetch(aio_context_t context, struct io_event *events, int count) {
    struct timespec limit = {5, 0};
    return syscall(SYS_io_getevents, context, count, count, events, &limit);
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    static uint8_t data[8 * PAGE], buffer[8 * PAGE];
    datagen(data, sizeof(data), NULL);
    write_file(test_filename, data, sizeof(data));
    int fd = must(open(test_filename, O_RDONLY));
    aio_context_t contexts[3] = {0};
    static const unsigned kEvents[] = {1, 64, 1000};
    for (int i = 0; i < 3; i++)
        must(syscall(SYS_io_setup, kEvents[i], &contexts[i]));
    struct io_event events[16];
    /* Moves head and tail of the ring. */
    for (int i = 0; i < 5; i++) {
        check(submit(contexts[1], fd, buffer, PAGE, 0, i) == 1, "io_submit");
        check(fetch(contexts[1], events, 1) == 1, "io_getevents");
    }
    check(submit(contexts[1], fd, buffer, PAGE, 0, 500) == 1 &&
              submit(contexts[1], fd, buffer + PAGE, 2 * PAGE, PAGE, 501) == 1,
          "io_submit");

    test_daemon();
    test_waitsig();

    check(fetch(contexts[1], events, 2) == 2, "events not yet fetched are lost");
    check(events[0].data == 500 && events[0].res == PAGE && events[1].data == 501 && events[1].res == 2 * PAGE,
          "events differ");
    for (int i = 0; i < 3; i++) {
        memset(buffer, 0, sizeof(buffer));
        check(submit(contexts[i], fd, buffer, 3 * PAGE, 2 * PAGE, 1000 + i) == 1, "context %d: io_submit", i);
        check(fetch(contexts[i], events, 1) == 1 && events[0].data == 1000u + i && events[0].res == 3 * PAGE,
              "context %d: event", i);
        check(!memcmp(buffer, data + 2 * PAGE, 3 * PAGE), "context %d: data", i);
        check(syscall(SYS_io_destroy, contexts[i]) == 0, "context %d: io_destroy", i);
    }
    return pass();
}
