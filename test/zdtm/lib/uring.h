/* io_uring without a library. */
#pragma once
#include "zdtm.h"

#include <linux/io_uring.h>

#define SETUP_NO_SQARRAY (1u << 16) /* Linux 6.6 */

struct uring {
    int fd;
    struct io_uring_params parameters;
    uint8_t *rings;
    struct io_uring_sqe *requests;
};

static inline uint32_t *uring_word(struct uring *ring, uint32_t offset) { return (void *)(ring->rings + offset); }

/* Returns -1 where the kernel does not take the flags. */
static inline int uring_setup(struct uring *ring, unsigned entries, unsigned flags) {
    memset(ring, 0, sizeof(*ring));
    ring->parameters.flags = flags;
    ring->fd = (int)syscall(SYS_io_uring_setup, entries, &ring->parameters);
    if (ring->fd < 0)
        return -1;
    const struct io_uring_params *p = &ring->parameters;
    size_t size = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
    if (!(flags & SETUP_NO_SQARRAY))
        size = p->sq_off.array + p->sq_entries * sizeof(uint32_t);
    ring->rings =
        (void *)must(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQ_RING));
    ring->requests = (void *)must(mmap(NULL, p->sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE,
                                       MAP_SHARED, ring->fd, IORING_OFF_SQES));
    return 0;
}

/* The next request, cleared; counted when the program says so. */
static inline struct io_uring_sqe *uring_next(struct uring *ring, uint8_t opcode, uint64_t data) {
    uint32_t *tail = uring_word(ring, ring->parameters.sq_off.tail);
    uint32_t index = *tail & (ring->parameters.sq_entries - 1);
    struct io_uring_sqe *request = &ring->requests[index];
    memset(request, 0, sizeof(*request));
    request->opcode = opcode;
    request->user_data = data;
    if (!(ring->parameters.flags & SETUP_NO_SQARRAY))
        uring_word(ring, ring->parameters.sq_off.array)[index] = index;
    __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
    return request;
}

static inline int uring_enter(struct uring *ring, unsigned submit, unsigned wait) {
    return (int)syscall(SYS_io_uring_enter, ring->fd, submit, wait, wait ? IORING_ENTER_GETEVENTS : 0, NULL, 0);
}

/* Takes one completion; false if there is none. */
static inline bool uring_take(struct uring *ring, struct io_uring_cqe *out) {
    uint32_t *head = uring_word(ring, ring->parameters.cq_off.head);
    if (*head == __atomic_load_n(uring_word(ring, ring->parameters.cq_off.tail), __ATOMIC_ACQUIRE))
        return false;
    const struct io_uring_cqe *all = (void *)(ring->rings + ring->parameters.cq_off.cqes);
    *out = all[*head & (ring->parameters.cq_entries - 1)];
    __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
    return true;
}
