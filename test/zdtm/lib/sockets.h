/*
 * Short forms for socket tests.
 */
#pragma once

#include "zdtm.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Address of a unix socket: a path, or with '@' in front an abstract name. Returns its length. */
static inline socklen_t unix_address(struct sockaddr_un *address, const char *name) {
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    snprintf(address->sun_path, sizeof(address->sun_path), "%s", name);
    socklen_t length = offsetof(struct sockaddr_un, sun_path) + strlen(name);
    if (name[0] == '@')
        address->sun_path[0] = 0;
    else
        length++;
    return length;
}

static inline int unix_bound(int type, const char *name) {
    struct sockaddr_un address;
    int fd = must(socket(AF_UNIX, type, 0));
    must(bind(fd, (struct sockaddr *)&address, unix_address(&address, name)));
    return fd;
}

static inline int unix_connected(int type, const char *name) {
    struct sockaddr_un address;
    int fd = must(socket(AF_UNIX, type, 0));
    must(connect(fd, (struct sockaddr *)&address, unix_address(&address, name)));
    return fd;
}

/* A socket bound to a free port of the loopback address of `family`; its address goes to *address. */
static inline int loopback_bound(int family, int type, struct sockaddr_in6 *address, socklen_t *length) {
    int fd = must(socket(family, type, 0));
    memset(address, 0, sizeof(*address));
    *length = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(*address);
    address->sin6_family = family;
    if (family == AF_INET)
        ((struct sockaddr_in *)address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        address->sin6_addr = in6addr_loopback;
    must(bind(fd, (struct sockaddr *)address, *length));
    must(getsockname(fd, (struct sockaddr *)address, length));
    return fd;
}

/* An established TCP connection over loopback: ends[0] is the client, ends[1] was accepted. Returns the listener. */
static inline int tcp_pair(int family, int ends[2]) {
    struct sockaddr_in6 address;
    socklen_t length;
    int listener = loopback_bound(family, SOCK_STREAM, &address, &length);
    must(listen(listener, 16));
    ends[0] = must(socket(family, SOCK_STREAM, 0));
    must(connect(ends[0], (struct sockaddr *)&address, length));
    ends[1] = must(accept(listener, NULL, NULL));
    return listener;
}

static inline int int_option(int fd, int level, int option) {
    int value = 0;
    socklen_t length = sizeof(value);
    return getsockopt(fd, level, option, &value, &length) ? -errno : value;
}

/* Checks that exactly `text` arrives. */
static inline bool receives(int fd, const char *text) {
    char buffer[4096];
    size_t got = 0, wanted = strlen(text);
    while (got < wanted) {
        ssize_t n = recv(fd, buffer + got, wanted - got, 0);
        if (n <= 0)
            return false;
        got += n;
    }
    return !memcmp(buffer, text, wanted);
}

static inline bool nothing_to_receive(int fd) {
    char byte;
    return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == -1 && errno == EAGAIN;
}

static inline bool sends(int fd, const char *text) {
    return send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text);
}

/* Sends one byte with descriptors; receives them. */
static inline void send_fds(int socket, const int *fds, size_t count) {
    char control[CMSG_SPACE(16 * sizeof(int))] = {0}, byte = 'F';
    struct iovec part = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, count * sizeof(int));
    must(sendmsg(socket, &message, 0));
}

static inline size_t receive_fds(int socket, int *fds, size_t count) {
    char control[CMSG_SPACE(16 * sizeof(int))], byte;
    struct iovec part = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    if (recvmsg(socket, &message, MSG_DONTWAIT) != 1)
        return 0;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_type != SCM_RIGHTS)
        return 0;
    size_t found = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(fds, CMSG_DATA(header), (found < count ? found : count) * sizeof(int));
    return found;
}
