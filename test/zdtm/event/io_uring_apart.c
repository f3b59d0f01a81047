/* An io_uring instance whose submissions and completions are mapped apart, as without IORING_FEAT_SINGLE_MMAP, and whose
   requests have been carried out by workers of the kernel, which are idle now. */
#include "zdtm.h"

#include <dirent.h>
#include <linux/io_uring.h>

static struct io_uring_params parameters;
static uint8_t *submissions, *completions;
static struct io_uring_sqe *entries;

static void read_by_worker(int fd, int file, const uint8_t *wanted, uint64_t data) {
    static uint8_t buffer[512];
    uint32_t *tail = (void *)(submissions + parameters.sq_off.tail);
    uint32_t *array = (void *)(submissions + parameters.sq_off.array);
    uint32_t mask = *(uint32_t *)(submissions + parameters.sq_off.ring_mask), index = *tail & mask;
    memset(buffer, 0, sizeof(buffer));
    memset(&entries[index], 0, sizeof(entries[index]));
    entries[index].opcode = IORING_OP_READ;
    entries[index].flags = IOSQE_ASYNC;
    entries[index].fd = file;
    entries[index].addr = (uintptr_t)buffer;
    entries[index].len = sizeof(buffer);
    entries[index].user_data = data;
    array[index] = index;
    __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
    check(syscall(SYS_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1, "io_uring_enter");
    uint32_t *head = (void *)(completions + parameters.cq_off.head);
    const struct io_uring_cqe *all = (void *)(completions + parameters.cq_off.cqes);
    const struct io_uring_cqe *done = &all[*head & *(uint32_t *)(completions + parameters.cq_off.ring_mask)];
    check(done->user_data == data && done->res == sizeof(buffer), "completion: %d", done->res);
    __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
    check(!memcmp(buffer, wanted, sizeof(buffer)), "data");
}

static int workers(void) {
    int found = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *entry; (entry = readdir(tasks));) {
        char path[300], name[32] = "";
        snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = fopen(path, "r");
        if (file && fscanf(file, "%31s", name) == 1)
            found += !strncmp(name, "iou-wrk", 7);
        if (file)
            fclose(file);
    }
    closedir(tasks);
    return found;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    uint8_t data[512];
    datagen(data, sizeof(data), NULL);
    write_file(test_filename, data, sizeof(data));
    int file = must(open(test_filename, O_RDONLY)), fd = must(syscall(SYS_io_uring_setup, 8, &parameters));
    submissions = (void *)must(mmap(NULL, parameters.sq_off.array + parameters.sq_entries * sizeof(uint32_t),
                                    PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING));
    completions = (void *)must(mmap(NULL, parameters.cq_off.cqes + parameters.cq_entries * sizeof(struct io_uring_cqe),
                                    PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_CQ_RING));
    entries = (void *)must(
        mmap(NULL, parameters.sq_entries * sizeof(*entries), PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES));
    for (int i = 0; i < 3; i++)
        lseek(file, 0, SEEK_SET), read_by_worker(fd, file, data, i);
    check(workers() > 0, "no worker of the kernel is there");
    test_daemon();
    test_waitsig();
    for (int i = 0; i < 20; i++)
        lseek(file, 0, SEEK_SET), read_by_worker(fd, file, data, 100 + i);
    return pass();
}
