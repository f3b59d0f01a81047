/* IPC namespaces of tasks below the root: the same ids and keys mean other objects there. */
#include "zdtm.h"

#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

struct objects {
    int segment, semaphores, queue;
    char *memory;
    mqd_t open, nameless;
};

static void make(struct objects *all, const char *text) {
    all->segment = must(shmget(0x51, 2 * PAGE, IPC_CREAT | IPC_EXCL | 0600));
    all->memory = shmat(all->segment, NULL, 0);
    check(all->memory != (char *)-1, "shmat");
    strcpy(all->memory, text);
    all->semaphores = must(semget(0x52, 2, IPC_CREAT | IPC_EXCL | 0600));
    must(semctl(all->semaphores, 1, SETVAL, (int)strlen(text)));
    all->queue = must(msgget(0x53, IPC_CREAT | IPC_EXCL | 0600));
    struct {
        long type;
        char text[16];
    } message = {3, ""};
    strcpy(message.text, text);
    must(msgsnd(all->queue, &message, sizeof(message.text), 0));
    struct mq_attr sizes = {.mq_maxmsg = 4, .mq_msgsize = 16};
    all->open = must(mq_open("/open", O_CREAT | O_EXCL | O_RDWR | O_NONBLOCK, 0600, &sizes));
    must(mq_send(all->open, text, strlen(text) + 1, 1));
    all->nameless = must(mq_open("/nameless", O_CREAT | O_EXCL | O_RDWR | O_NONBLOCK, 0600, &sizes));
    must(mq_send(all->nameless, text, strlen(text) + 1, 1));
    must(mq_unlink("/nameless"));
    mqd_t closed = must(mq_open("/closed", O_CREAT | O_EXCL | O_RDWR, 0600, &sizes));
    must(mq_send(closed, text, strlen(text) + 1, 1));
    mq_close(closed);
}

static void check_queue(mqd_t queue, const char *text) {
    char found[16] = "";
    check(queue >= 0 && mq_receive(queue, found, sizeof(found), NULL) > 0 && !strcmp(found, text),
          "a POSIX queue holds \"%s\", not \"%s\"", found, text);
}

static void check_objects(const struct objects *all, const char *text) {
    check(shmget(0x51, 0, 0) == all->segment && !strcmp(all->memory, text), "the segment holds %.16s, not %s", all->memory,
          text);
    struct shmid_ds state;
    must(shmctl(all->segment, IPC_STAT, &state));
    check(state.shm_nattch == 1, "%ld are attached", (long)state.shm_nattch);
    check(semget(0x52, 0, 0) == all->semaphores, "the semaphores are others");
    check(semctl(all->semaphores, 1, GETVAL) == (int)strlen(text), "a semaphore is %d", semctl(all->semaphores, 1, GETVAL));
    struct {
        long type;
        char text[16];
    } message;
    check(msgget(0x53, 0) == all->queue && msgrcv(all->queue, &message, sizeof(message.text), 3, IPC_NOWAIT) > 0 &&
              !strcmp(message.text, text),
          "the queue has another message");
    check_queue(all->open, text);
    check_queue(all->nameless, text);
    check_queue(mq_open("/closed", O_RDWR | O_NONBLOCK), text);
    check(mq_open("/nameless", O_RDWR) < 0, "a queue has a name again");
}

static int below(void *argument) {
    struct objects all;
    must(unshare(CLONE_NEWIPC));
    make(&all, argument);
    child_wait();
    check_objects(&all, argument);
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pid_t first = spawn(below, "first"), second = spawn(below, "the second");
    test_daemon();
    test_waitsig();
    check(shmget(0x51, 0, 0) < 0 && mq_open("/open", O_RDWR) < 0, "an object of a task below is the root's");
    finish_child(first);
    finish_child(second);
    return pass();
}
