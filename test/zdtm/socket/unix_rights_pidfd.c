/* pidfds on their way through unix sockets of each type, between other messages, one of which also lies in the table:
 * messages lost, out of order, with other descriptors, of other processes or descriptions. */
#include "abi.h"
#include "sockets.h"

#include <poll.h>
#include <sys/eventfd.h>

static int idle(void *unused) {
    (void)unused;
    child_ready();
    child_wait();
    return 0;
}

static void send_with(int socket, const char *text, int fd) {
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec part = {(void *)text, strlen(text)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = control;
        message.msg_controllen = sizeof(control);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    }
    must(sendmsg(socket, &message, 0));
}

/* Returns the descriptor that comes with the text; -1 if none does. */
static int take(int socket, const char *text) {
    char control[CMSG_SPACE(4 * sizeof(int))], buffer[64] = {0};
    struct iovec part = {buffer, strlen(text)};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(socket, &message, MSG_DONTWAIT);
    check(n == (ssize_t)strlen(text) && !strcmp(buffer, text), "'%s' instead of '%s'", buffer, text);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    int fd = -1;
    if (header && header->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(header), sizeof(fd));
    return fd;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    const int types[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};
    int channels[3][2];
    pid_t child = spawn(idle, NULL);
    int held = must(syscall(SYS_NR_pidfd_open, child, 0)), own = must(syscall(SYS_NR_pidfd_open, getpid(), 0)),
        other = must(syscall(SYS_NR_pidfd_open, child, 0)), event = must(eventfd(7, EFD_NONBLOCK));
    for (int i = 0; i < 3; i++) {
        must(socketpair(AF_UNIX, types[i], 0, channels[i]));
        if (types[i] != SOCK_STREAM) /* reading on joins it with the next message */
            send_with(channels[i][0], "plain", -1);
        send_with(channels[i][0], "other", other);
        send_with(channels[i][0], "event", event);
        send_with(channels[i][0], "held", held);
        send_with(channels[i][0], "own", own);
    }
    close(own), close(other), close(event);
    test_daemon();
    test_waitsig();
    int found[3];
    for (int i = 0; i < 3; i++) {
        int socket = channels[i][1];
        uint64_t value = 0;
        if (types[i] != SOCK_STREAM)
            check(take(socket, "plain") == -1, "a descriptor too many");
        found[i] = take(socket, "other");
        check(fdinfo_value(found[i], "Pid", 10) == child, "pidfd of %lld", fdinfo_value(found[i], "Pid", 10));
        int fd = take(socket, "event");
        if (i == 0)
            check(read(fd, &value, 8) == 8 && value == 7, "eventfd");
        check(same_description(getpid(), held, getpid(), take(socket, "held")), "another description");
        check(fdinfo_value(take(socket, "own"), "Pid", 10) == getpid(), "own pidfd");
        check(nothing_to_receive(socket), "more messages");
    }
    check(same_description(getpid(), found[0], getpid(), found[2]), "one that was sent twice");
    check(!same_description(getpid(), found[0], getpid(), held), "two are one now");
    finish_child(child);
    struct pollfd ended = {found[1], POLLIN, 0};
    check(poll(&ended, 1, 0) == 1, "the pidfd does not tell that the process has ended");
    return pass();
}
