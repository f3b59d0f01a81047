// Bytes on a unix socket, with descriptors on their way beside them (SCM_RIGHTS). unix(7).
#pragma once

#include "base/unique_fd.hh"

#include <cerrno>
#include <cstring>
#include <span>
#include <sys/socket.h>
#include <sys/uio.h>
#include <vector>

namespace base {

/// More than anybody here sends in one message.
inline constexpr size_t kMostPassedFds = 8;

/// As sendmsg(2), never with SIGPIPE; again after a signal. `fds`: at most kMostPassedFds, which stay the caller's.
inline ssize_t send_with_fds(int socket, const void *data, size_t size, std::span<const int> fds) {
    alignas(cmsghdr) char control[CMSG_SPACE(kMostPassedFds * sizeof(int))] = {};
    iovec part{const_cast<void *>(data), size};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (!fds.empty()) {
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(fds.size_bytes());
        cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(fds.size_bytes());
        std::memcpy(CMSG_DATA(head), fds.data(), fds.size_bytes());
    }
    ssize_t sent;
    do
        sent = sendmsg(socket, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent;
}

/// As recvmsg(2); again after a signal. All descriptors that come along are appended to `fds`, close-on-exec.
inline ssize_t receive_with_fds(int socket, void *data, size_t size, std::vector<UniqueFd> &fds, int flags = 0) {
    alignas(cmsghdr) char control[CMSG_SPACE(kMostPassedFds * sizeof(int))];
    iovec part{data, size};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    ssize_t got;
    do
        got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | flags);
    while (got < 0 && errno == EINTR);
    for (cmsghdr *head = got < 0 ? nullptr : CMSG_FIRSTHDR(&message); head; head = CMSG_NXTHDR(&message, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = 0; CMSG_LEN(at + sizeof(int)) <= head->cmsg_len; at += sizeof(int)) {
            int number = -1;
            std::memcpy(&number, CMSG_DATA(head) + at, sizeof number);
            fds.emplace_back(number);
        }
    }
    return got;
}

} // namespace base
