/* Credentials: SO_PEERCRED of a peer that was another user, SCM_CREDENTIALS in a queue, SO_PASSCRED. */
#include "sockets.h"

static bool receives_from(int fd, pid_t pid, uid_t uid) {
    char control[CMSG_SPACE(sizeof(struct ucred))], byte;
    struct iovec part = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    if (recvmsg(fd, &message, MSG_DONTWAIT) != 1)
        return false;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    struct ucred found = {0};
    if (!header || header->cmsg_type != SCM_CREDENTIALS)
        return false;
    memcpy(&found, CMSG_DATA(header), sizeof(found));
    return found.pid == pid && found.uid == uid;
}

/* Privileged tasks may claim to be anybody. */
static void send_as(int fd, uid_t uid) {
    char control[CMSG_SPACE(sizeof(struct ucred))] = {0}, byte = 'y';
    struct ucred claimed = {getpid(), uid, 0};
    struct iovec part = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_CREDENTIALS;
    header->cmsg_len = CMSG_LEN(sizeof(claimed));
    memcpy(CMSG_DATA(header), &claimed, sizeof(claimed));
    must(sendmsg(fd, &message, 0));
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    int on = 1, listener = unix_bound(SOCK_STREAM, "listener"), pair[2];
    must(chmod("listener", 0777));
    must(listen(listener, 5));
    must(seteuid(1234));
    int client = unix_connected(SOCK_STREAM, "listener");
    must(seteuid(0));
    int server = must(accept(listener, NULL, NULL));
    must(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    must(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)));
    sends(pair[0], "x");
    send_as(pair[0], 777);
    pid_t child = must(fork());
    if (child == 0) {
        sends(pair[0], "z");
        _exit(0);
    }
    expect_wait_status(child, 0);
    struct ucred before, after;
    socklen_t length = sizeof(before);
    must(getsockopt(server, SOL_SOCKET, SO_PEERCRED, &before, &length));
    test_daemon();
    test_waitsig();
    check(getsockopt(server, SOL_SOCKET, SO_PEERCRED, &after, &length) == 0 && !memcmp(&before, &after, sizeof(before)),
          "peer is %d/%d instead of %d/%d", after.pid, after.uid, before.pid, before.uid);
    check(sends(client, "a") && receives(server, "a"), "connection");
    check(int_option(pair[1], SOL_SOCKET, SO_PASSCRED) == 1, "SO_PASSCRED");
    check(receives_from(pair[1], getpid(), 0), "first message's credentials");
    check(receives_from(pair[1], getpid(), 777), "second message's credentials");
    check(receives_from(pair[1], child, 0), "credentials of a dead sender");
    return pass();
}
