/* More shared mappings than a process may have files, each an object of its own that nobody else maps: they cannot all be
 * kept as descriptors while the tree is restored. */
#include "zdtm.h"

#define COUNT 25000
#define FILLED 200 /* every 125th: each that has contents is an image file */

static uint8_t *mappings[COUNT];

int main(int argc, char **argv) {
    test_init(argc, argv);
    for (int i = 0; i < COUNT; i++) {
        mappings[i] = map_shared(PAGE);
        if (i % (COUNT / FILLED) == 0)
            *(int *)mappings[i] = i + 1;
    }
    must(mprotect(mappings[0], PAGE, PROT_READ));
    test_daemon();
    test_waitsig();
    for (int i = 0; i < COUNT; i++) {
        int wanted = i % (COUNT / FILLED) == 0 ? i + 1 : 0;
        check(*(int *)mappings[i] == wanted, "mapping %d holds %d, not %d", i, *(int *)mappings[i], wanted);
    }
    check(!strcmp(mapping_perms(mappings[0]), "r--s"), "protection %s", mapping_perms(mappings[0]));
    /* It is shared: a child's write is seen. */
    pid_t pid = fork();
    if (pid == 0) {
        *(int *)mappings[1] = 7;
        _exit(0);
    }
    must(waitpid(pid, NULL, 0));
    check(*(int *)mappings[1] == 7, "a child's write is not seen");
    return pass();
}
