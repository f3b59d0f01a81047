/* POSIX message queues: attributes, messages with priorities, an unlinked queue, notification. */
#include "zdtm.h"

#include <mqueue.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    char names[2][64], text[64];
    struct mq_attr attributes = {.mq_maxmsg = 5, .mq_msgsize = 64}, after;
    mqd_t queues[2];
    for (int i = 0; i < 2; i++) {
        snprintf(names[i], sizeof(names[i]), "/zdtm-%ld-%d", (long)now_ns(CLOCK_REALTIME), i);
        queues[i] = must(mq_open(names[i], O_CREAT | O_RDWR | O_NONBLOCK, 0600, &attributes));
        must(mq_send(queues[i], "low", 3, 1));
        must(mq_send(queues[i], "high", 4, 9));
        must(mq_send(queues[i], "low again", 9, 1));
    }
    must(mq_unlink(names[1]));
    test_daemon();
    test_waitsig();
    int other = mq_open(names[0], O_RDONLY | O_NONBLOCK);
    mq_unlink(names[0]);
    for (int i = 0; i < 2; i++) {
        unsigned priority;
        check(!mq_getattr(queues[i], &after) && after.mq_maxmsg == 5 && after.mq_curmsgs == 3 &&
                  after.mq_flags == O_NONBLOCK,
              "queue %d: attributes", i);
        check(mq_receive(queues[i], text, 64, &priority) == 4 && priority == 9, "queue %d: first message", i);
        check(mq_receive(queues[i], text, 64, &priority) == 3 && priority == 1, "queue %d: second message", i);
        check(mq_receive(queues[i], text, 64, &priority) == 9 && priority == 1, "queue %d: third message", i);
        check(mq_receive(queues[i], text, 64, &priority) == -1 && errno == EAGAIN, "queue %d: more messages", i);
    }
    must(mq_send(queues[0], "x", 1, 0));
    check(other >= 0 && mq_receive(other, text, 64, NULL) == 1, "the name leads to another queue");
    return pass();
}
