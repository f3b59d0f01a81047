/*
 * Network devices and namespaces for tests: a few messages to the kernel (rtnetlink) and the old ioctls.
 */
#pragma once

#include "zdtm.h"

#include <arpa/inet.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

struct link_message {
    struct nlmsghdr head;
    char room[1024];
};

static inline void *link_append(struct link_message *message, const void *data, size_t size) {
    char *at = (char *)message + NLMSG_ALIGN(message->head.nlmsg_len);
    memset(at, 0, NLMSG_ALIGN(size));
    if (size)
        memcpy(at, data, size);
    message->head.nlmsg_len = NLMSG_ALIGN(message->head.nlmsg_len) + size;
    return at;
}

static inline struct rtattr *link_attribute(struct link_message *message, int type, const void *data, size_t size) {
    struct rtattr head = {.rta_len = RTA_LENGTH(size), .rta_type = type};
    struct rtattr *at = link_append(message, &head, sizeof(head));
    link_append(message, data, size);
    return at;
}

static inline void link_end(struct link_message *message, struct rtattr *nested) {
    nested->rta_len = (char *)message + message->head.nlmsg_len - (char *)nested;
}

static inline struct link_message link_begin(int type, int flags, const void *body, size_t size) {
    struct link_message message = {
        .head = {.nlmsg_len = NLMSG_HDRLEN, .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags}};
    link_append(&message, body, size);
    return message;
}

static inline int link_send(struct link_message *message) {
    int line = must(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    char answer[2048];
    must(send(line, message, message->head.nlmsg_len, 0));
    must(recv(line, answer, sizeof(answer), 0));
    close(line);
    struct nlmsghdr *head = (void *)answer;
    if (head->nlmsg_type != NLMSG_ERROR)
        return 0;
    errno = -*(int *)NLMSG_DATA(head);
    return errno ? -1 : 0;
}

/* A device of a kind that needs nothing else (bridge, dummy, ifb). */
static inline void link_add(const char *name, const char *kind) {
    struct ifinfomsg body = {0};
    struct link_message message = link_begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &body, sizeof(body));
    link_attribute(&message, IFLA_IFNAME, name, strlen(name) + 1);
    struct rtattr *info = link_attribute(&message, IFLA_LINKINFO, NULL, 0);
    link_attribute(&message, IFLA_INFO_KIND, kind, strlen(kind) + 1);
    link_end(&message, info);
    must(link_send(&message));
}

/* A veth whose other end is in the network namespace of a process. */
static inline void link_add_pair(const char *name, const char *peer, pid_t peer_pid) {
    struct ifinfomsg body = {0};
    struct link_message message = link_begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &body, sizeof(body));
    link_attribute(&message, IFLA_IFNAME, name, strlen(name) + 1);
    struct rtattr *info = link_attribute(&message, IFLA_LINKINFO, NULL, 0);
    link_attribute(&message, IFLA_INFO_KIND, "veth", 5);
    struct rtattr *data = link_attribute(&message, IFLA_INFO_DATA, NULL, 0);
    struct rtattr *other = link_attribute(&message, VETH_INFO_PEER, &body, sizeof(body));
    uint32_t pid = peer_pid;
    link_attribute(&message, IFLA_IFNAME, peer, strlen(peer) + 1);
    link_attribute(&message, IFLA_NET_NS_PID, &pid, sizeof(pid));
    link_end(&message, other);
    link_end(&message, data);
    link_end(&message, info);
    must(link_send(&message));
}

static inline void link_up(const char *name) {
    int sock = must(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    struct ifreq request = {0};
    snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
    must(ioctl(sock, SIOCGIFFLAGS, &request));
    request.ifr_flags |= IFF_UP;
    must(ioctl(sock, SIOCSIFFLAGS, &request));
    close(sock);
}

/* An IPv4 address with its network of 24 bits. */
static inline void link_address(const char *name, const char *address) {
    struct in_addr ip;
    must(inet_pton(AF_INET, address, &ip) == 1 ? 0 : -1);
    struct ifaddrmsg body = {.ifa_family = AF_INET, .ifa_prefixlen = 24, .ifa_index = if_nametoindex(name)};
    struct link_message message = link_begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &body, sizeof(body));
    link_attribute(&message, IFA_LOCAL, &ip, sizeof(ip));
    link_attribute(&message, IFA_ADDRESS, &ip, sizeof(ip));
    must(link_send(&message));
}

/* The number of a namespace of the calling process: "net". */
static inline uint64_t namespace_number(const char *name) {
    char path[64];
    struct stat st;
    snprintf(path, sizeof(path), "/proc/self/ns/%s", name);
    must(stat(path, &st));
    return st.st_ino;
}
