/* Private file mappings: clean pages come from the file, dirty ones from the image, different offsets and protections.
 */
#include "zdtm.h"

#define PAGES 32
#define FILE_SIZE (PAGES * PAGE + 1000)

int main(int argc, char **argv) {
    test_init(argc, argv);
    static uint8_t contents[FILE_SIZE];
    datagen(contents, FILE_SIZE, NULL);
    write_file(test_filename, contents, FILE_SIZE);
    int fd = must(open(test_filename, O_RDONLY));
    uint8_t *whole = (void *)must(mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    uint8_t *part = (void *)must(mmap(NULL, 4 * PAGE, PROT_READ, MAP_PRIVATE, fd, 7 * PAGE));
    uint8_t *code = (void *)must(mmap(NULL, 2 * PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, PAGE));
    uint8_t *now_readonly = (void *)must(mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 20 * PAGE));
    uint8_t *dropped = (void *)must(mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 24 * PAGE));
    close(fd);
    for (size_t page = 0; page < PAGES; page += 3)
        memset(whole + page * PAGE, page + 1, PAGE);
    memset(whole + FILE_SIZE, 77, 50); /* beyond the end of the file, in its last page */
    memset(now_readonly + PAGE, 5, PAGE);
    must(mprotect(now_readonly, 4 * PAGE, PROT_READ));
    memset(dropped, 6, 4 * PAGE);
    must(madvise(dropped, 4 * PAGE, MADV_DONTNEED));
    dropped[PAGE] = 8;

    test_daemon();
    test_waitsig();

    for (size_t page = 0; page < PAGES; page++)
        check(page % 3 ? !memcmp(whole + page * PAGE, contents + page * PAGE, PAGE)
                       : all_bytes_are(whole + page * PAGE, page + 1, PAGE),
              "page %zu differs", page);
    check(all_bytes_are(whole + FILE_SIZE, 77, 50), "data behind the end of the file");
    check(!memcmp(part, contents + 7 * PAGE, 4 * PAGE), "mapping with offset");
    check(!memcmp(code, contents + PAGE, 2 * PAGE) && !strcmp(mapping_perms(code), "r-xp"), "executable mapping");
    check(all_bytes_are(now_readonly + PAGE, 5, PAGE) && !memcmp(now_readonly, contents + 20 * PAGE, PAGE),
          "read-only mapping");
    check(!memcmp(dropped, contents + 24 * PAGE, PAGE) && dropped[PAGE] == 8, "dropped pages");
    whole[1] = 'x';
    int again = must(open(test_filename, O_RDONLY));
    uint8_t first[2];
    check(pread(again, first, 2, 0) == 2 && !memcmp(first, contents, 2), "a private write reached the file");
    return pass();
}
