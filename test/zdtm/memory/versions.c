/* Memory that changes all the time, in every way that there is: each page holds the number of its last change, which only
 * its newest copy has. Of use with --pre and --snaps. */
#include "zdtm.h"

#define PAGES 2048
#define SIZE ((size_t)PAGES * PAGE)

struct area {
    uint64_t *memory;
    uint64_t versions[PAGES]; /* 0: the page is empty, or as the file has it */
    int unreadable[PAGES];
};

static struct area areas[2]; /* the second is a private mapping of a file */
static uint64_t clock_, random_ = 88172645463325252ull;

static size_t any(size_t below) {
    random_ ^= random_ << 13, random_ ^= random_ >> 7, random_ ^= random_ << 17;
    return random_ % below;
}

static uint64_t *page(struct area *area, size_t i) { return area->memory + i * (PAGE / 8); }

static void write_page(struct area *area, size_t i) {
    uint64_t *at = page(area, i);
    if (area->unreadable[i])
        return;
    area->versions[i] = ++clock_;
    at[0] = at[PAGE / 16] = at[PAGE / 8 - 1] = area->versions[i];
}

static void drop(struct area *area, size_t from, size_t count) {
    check(madvise(page(area, from), count * PAGE, MADV_DONTNEED) == 0, "MADV_DONTNEED");
    for (size_t i = from; i < from + count; i++)
        area->versions[i] = 0;
}

/* A new mapping in the place of the old one. */
static void map_again(struct area *area, size_t from, size_t count) {
    must((long)mmap(page(area, from), count * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    for (size_t i = from; i < from + count; i++)
        area->versions[i] = 0, area->unreadable[i] = 0;
}

/* Pages that were written elsewhere, long ago, arrive here. */
static void move_in(struct area *area, size_t from, size_t count) {
    uint64_t *spare = map_private(count * PAGE);
    for (size_t i = 0; i < count; i++) {
        uint64_t *at = spare + i * (PAGE / 8);
        at[0] = at[PAGE / 16] = at[PAGE / 8 - 1] = area->versions[from + i] = ++clock_;
        area->unreadable[from + i] = 0;
    }
    check(mremap(spare, count * PAGE, count * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, page(area, from)) != MAP_FAILED, "mremap");
}

/* From one place of the area to another one. */
static void move_within(struct area *area, size_t from, size_t to, size_t count) {
    if (from + count > to)
        return;
    void *moved = mremap(page(area, from), count * PAGE, count * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, page(area, to));
    if (moved == MAP_FAILED) { /* of several mappings, not all of which can be moved: both places have holes now */
        check(errno == EFAULT, "mremap within");
        map_again(area, to, count);
        return map_again(area, from, count);
    }
    for (size_t i = 0; i < count; i++) {
        area->versions[to + i] = area->versions[from + i];
        area->unreadable[to + i] = area->unreadable[from + i];
    }
    map_again(area, from, count);
}

static void protect(struct area *area, size_t i) {
    area->unreadable[i] = !area->unreadable[i];
    check(mprotect(page(area, i), PAGE, area->unreadable[i] ? PROT_NONE : PROT_READ | PROT_WRITE) == 0, "mprotect");
}

static void read_into(struct area *area, size_t i) {
    uint64_t version = area->versions[i] + 1;
    int ends[2];
    if (area->unreadable[i])
        return;
    version = ++clock_;
    must(pipe(ends));
    check(write(ends[1], &version, 8) == 8 && read(ends[0], page(area, i), 8) == 8, "the kernel writes");
    close(ends[0]), close(ends[1]);
    page(area, i)[PAGE / 16] = page(area, i)[PAGE / 8 - 1] = area->versions[i] = version;
}

static void change(struct area *area) {
    size_t i = any(PAGES - 64), count = 1 + any(32);
    int anonymous = area == areas;
    switch (any(40)) {
    case 0:
        return drop(area, i, count);
    case 1:
        return anonymous ? map_again(area, i, count) : drop(area, i, count);
    case 2:
        return anonymous ? move_in(area, i, count) : write_page(area, i);
    case 3:
        return anonymous ? move_within(area, i, i + count, count) : write_page(area, i);
    case 4:
        return protect(area, i);
    case 5:
        return read_into(area, i);
    default:
        return write_page(area, i);
    }
}

static void verify(struct area *area, const char *what) {
    for (size_t i = 0; i < PAGES; i++) {
        if (area->unreadable[i])
            must(mprotect(page(area, i), PAGE, PROT_READ));
        const uint64_t *at = page(area, i), version = area->versions[i];
        check(at[0] == version && at[PAGE / 16] == version && at[PAGE / 8 - 1] == version,
              "%s: page %zu is of the versions %lu, %lu and %lu, not %lu of %lu", what, i, at[0], at[PAGE / 16],
              at[PAGE / 8 - 1], version, clock_);
    }
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    int fd = must(open(test_filename, O_CREAT | O_RDWR, 0600));
    must(ftruncate(fd, SIZE));
    areas[0].memory = map_private(SIZE);
    areas[1].memory = (void *)must((long)mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    for (int a = 0; a < 2; a++)
        for (size_t i = 0; i < PAGES; i += a + 1)
            write_page(&areas[a], i);

    test_daemon();
    while (test_go()) {
        for (int i = 0; i < 20; i++)
            change(&areas[any(2)]);
        usleep(1000);
    }

    verify(&areas[0], "anonymous memory");
    verify(&areas[1], "private mapping of a file");
    return pass();
}
