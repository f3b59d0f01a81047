/* Objects of an ipc namespace that no process holds: System V memory, semaphores and messages, with their numbers, keys,
 * owners, contents and order; POSIX queues that nobody has open; limits. */
#include "zdtm.h"

#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#define KEY 0x5eed
#define SIZE (3 * PAGE + 100)

struct message {
    long type;
    char text[32];
};

static void put_setting(const char *path, const char *text) {
    int fd = must(open(path, O_WRONLY));
    must(write(fd, text, strlen(text)));
    close(fd);
}

static void check_setting(const char *path, const char *text) {
    char found[64] = "";
    int fd = must(open(path, O_RDONLY));
    must(read(fd, found, sizeof(found) - 1));
    close(fd);
    check(!strncmp(found, text, strlen(text)), "%s is %s, not %s", path, found, text);
}

static int make_segment(uint32_t *crc) {
    int id = must(shmget(KEY, SIZE, IPC_CREAT | IPC_EXCL | 0640));
    char *memory = (char *)must(shmat(id, NULL, 0));
    datagen(memory, PAGE, &crc[0]);
    datagen(memory + 2 * PAGE, PAGE, &crc[1]);
    must(shmdt(memory));
    return id;
}

static void check_segment(int id, uint32_t *crc) {
    struct shmid_ds about;
    check(shmget(KEY, 0, 0) == id, "the segment of the key has another number");
    check(shmctl(id, IPC_STAT, &about) == 0, "the segment is gone");
    check(about.shm_segsz == SIZE && (about.shm_perm.mode & 0777) == 0640, "size %zu, mode %o", about.shm_segsz, about.shm_perm.mode);
    check(about.shm_nattch == 0, "%lu have it attached", (unsigned long)about.shm_nattch);
    char *memory = shmat(id, NULL, 0);
    check(memory != (void *)-1, "it cannot be attached");
    check(datachk(memory, PAGE, &crc[0]) && datachk(memory + 2 * PAGE, PAGE, &crc[1]), "its contents are others");
    check(all_bytes_are(memory + PAGE, 0, PAGE), "the hole is filled");
    must(shmdt(memory));
}

static int make_semaphores(void) {
    unsigned short values[] = {3, 0, 32767, 1};
    /* A number that is not the first: one was removed before. */
    must(semctl(must(semget(IPC_PRIVATE, 1, 0600)), 0, IPC_RMID));
    int id = must(semget(KEY, 4, IPC_CREAT | IPC_EXCL | 0604));
    must(semctl(id, 0, SETALL, values));
    return id;
}

static void check_semaphores(int id) {
    const unsigned short wanted[] = {3, 0, 32767, 1};
    unsigned short values[4];
    struct semid_ds about;
    check(semget(KEY, 0, 0) == id, "the semaphores of the key have another number");
    check(semctl(id, 0, IPC_STAT, &about) == 0 && about.sem_nsems == 4 && (about.sem_perm.mode & 0777) == 0604, "the semaphores are others");
    check(semctl(id, 0, GETALL, values) == 0 && !memcmp(values, wanted, sizeof(values)), "the values are %d, %d, %d, %d", values[0],
          values[1], values[2], values[3]);
}

static const struct message kMessages[] = {{3, "first"}, {1, "second"}, {3, "third"}, {7, ""}};

static int make_messages(void) {
    int id = must(msgget(KEY, IPC_CREAT | IPC_EXCL | 0620));
    for (size_t i = 0; i < ARRAY_SIZE(kMessages); i++)
        must(msgsnd(id, &kMessages[i], strlen(kMessages[i].text), 0));
    struct msqid_ds about;
    must(msgctl(id, IPC_STAT, &about));
    about.msg_qbytes = 5000;
    must(msgctl(id, IPC_SET, &about));
    return id;
}

static void check_messages(int id) {
    struct msqid_ds about;
    check(msgget(KEY, 0) == id, "the queue of the key has another number");
    check(msgctl(id, IPC_STAT, &about) == 0 && about.msg_qnum == ARRAY_SIZE(kMessages), "%lu messages", (unsigned long)about.msg_qnum);
    check(about.msg_qbytes == 5000 && (about.msg_perm.mode & 0777) == 0620, "room %lu, mode %o", about.msg_qbytes, about.msg_perm.mode);
    for (size_t i = 0; i < ARRAY_SIZE(kMessages); i++) {
        struct message got = {0};
        ssize_t n = msgrcv(id, &got, sizeof(got.text), 0, IPC_NOWAIT);
        check(n == (ssize_t)strlen(kMessages[i].text) && got.type == kMessages[i].type && !strcmp(got.text, kMessages[i].text),
              "message %zu is \"%s\" of type %ld", i, got.text, got.type);
    }
}

static void make_posix_queue(void) {
    struct mq_attr attributes = {.mq_maxmsg = 5, .mq_msgsize = 64};
    mqd_t queue = must(mq_open("/nobody-has-it", O_CREAT | O_EXCL | O_RDWR, 0640, &attributes));
    must(mq_send(queue, "less", 5, 1));
    must(mq_send(queue, "more", 5, 9));
    must(mq_close(queue));
}

static void check_posix_queue(void) {
    char text[64];
    unsigned priority;
    struct mq_attr attributes;
    mqd_t queue = mq_open("/nobody-has-it", O_RDONLY | O_NONBLOCK);
    check(queue >= 0, "the queue is gone");
    check(mq_getattr(queue, &attributes) == 0 && attributes.mq_maxmsg == 5 && attributes.mq_msgsize == 64 && attributes.mq_curmsgs == 2,
          "%ld messages", attributes.mq_curmsgs);
    check(mq_receive(queue, text, sizeof(text), &priority) == 5 && !strcmp(text, "more") && priority == 9, "the first is %s", text);
    check(mq_receive(queue, text, sizeof(text), &priority) == 5 && !strcmp(text, "less") && priority == 1, "the second is %s", text);
    must(mq_close(queue));
    must(mq_unlink("/nobody-has-it"));
}

int main(int argc, char **argv) {
    uint32_t crc[] = {~0u, ~0u};
    test_init(argc, argv);
    put_setting("/proc/sys/kernel/msgmax", "9000");
    put_setting("/proc/sys/kernel/sem", "250 32000 50 64");
    put_setting("/proc/sys/kernel/shmmni", "100");
    put_setting("/proc/sys/fs/mqueue/msg_max", "20");
    int segment = make_segment(crc), semaphores = make_semaphores(), messages = make_messages();
    make_posix_queue();
    test_daemon();
    test_waitsig();
    check_segment(segment, crc);
    check_semaphores(semaphores);
    check_messages(messages);
    check_posix_queue();
    check_setting("/proc/sys/kernel/msgmax", "9000");
    check_setting("/proc/sys/kernel/sem", "250\t32000\t50\t64");
    check_setting("/proc/sys/kernel/shmmni", "100");
    check_setting("/proc/sys/fs/mqueue/msg_max", "20");
    return pass();
}
