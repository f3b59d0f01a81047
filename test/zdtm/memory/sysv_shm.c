/* System V shared memory: a segment, one that is marked for removal, one that is attached for reading, a piece of one. */
#include "zdtm.h"

#include <sys/ipc.h>
#include <sys/shm.h>

#define SIZE (6 * PAGE + 100)
static uint8_t *shared, *removed, *reader, *piece;

static int body(void *unused) {
    (void)unused;
    child_wait();
    check(shared[1] == 1 && removed[1] == 2, "the child does not see the parent's writes");
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    key_t key = (key_t)(now_ns(CLOCK_REALTIME) & 0x7fffffff) | 1;
    int id = (int)must(shmget(key, SIZE, IPC_CREAT | IPC_EXCL | 0640));
    int gone = (int)must(shmget(IPC_PRIVATE, SIZE, IPC_CREAT | 0600));
    shared = shmat(id, NULL, 0);
    reader = shmat(id, NULL, SHM_RDONLY);
    piece = shmat(id, NULL, 0);
    removed = shmat(gone, NULL, 0);
    check(shared != (void *)-1 && reader != (void *)-1 && piece != (void *)-1 && removed != (void *)-1, "shmat");
    must(munmap(piece, 2 * PAGE));
    must(shmctl(gone, IPC_RMID, NULL));
    uint32_t crcs[2] = {~0u, ~0u};
    datagen(shared, SIZE, &crcs[0]);
    datagen(removed, SIZE, &crcs[1]);
    pid_t child = spawn(body, NULL);
    struct shmid_ds before, after, marked;
    must(shmctl(id, IPC_STAT, &before));
    test_daemon();
    test_waitsig();
    int error = shmctl(id, IPC_STAT, &after);
    bool same = datachk(shared, SIZE, &crcs[0]) && datachk(removed, SIZE, &crcs[1]);
    int found = shmget(key, 0, 0), marks = shmctl(gone, IPC_STAT, &marked);
    shmctl(id, IPC_RMID, NULL);
    check(error == 0 && found == id, "id or key has changed");
    check(same, "contents differ");
    check(after.shm_segsz == SIZE && (after.shm_perm.mode & 0777) == 0640, "size or mode has changed");
    check(after.shm_nattch == before.shm_nattch, "another number of attachments: %ld, not %ld", (long)after.shm_nattch,
          (long)before.shm_nattch);
    check(marks == 0 && (marked.shm_perm.mode & SHM_DEST), "the other segment is not marked for removal");
    shared[1] = 1;
    removed[1] = 2;
    check(reader[1] == 1 && piece[2 * PAGE] == shared[2 * PAGE], "attachments of one segment differ");
    finish_child(child);
    must(shmdt(reader));
    must(shmdt(removed));
    check(shmctl(gone, IPC_STAT, &marked) < 0, "the removed segment lives on");
    return pass();
}
