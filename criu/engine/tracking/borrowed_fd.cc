#include "criu/engine/tracking/borrowed_fd.hh"

#include "base/fd_message.hh"
#include "kernel_abi/userfaultfd.hh"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

namespace tracking {
namespace {

/// A message with one descriptor, whose number is filled in by the task.
struct DescriptorMessage {
    alignas(cmsghdr) char bytes[CMSG_SPACE(sizeof(int))] = {};
    DescriptorMessage() {
        auto *head = reinterpret_cast<cmsghdr *>(bytes);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof(int));
    }
};

Result<base::UniqueFd> take(int socket) {
    char byte = 0;
    std::vector<base::UniqueFd> fds;
    if (base::receive_with_fds(socket, &byte, sizeof byte, fds, MSG_DONTWAIT) != 1)
        return base::fail_sys("take the userfaultfd");
    return fds.empty() ? base::UniqueFd() : std::move(fds.front());
}

} // namespace

Result<base::UniqueFd> borrow_userfaultfd(compel::Injection &agent) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return base::fail_sys("socketpair");
    const base::UniqueFd ours(ends[0]), theirs(ends[1]);
    compel::Batch batch = agent.batch();
    const uint64_t control = batch.in_value(DescriptorMessage());
    const uint64_t vector = batch.in_value(iovec{reinterpret_cast<void *>(batch.in_value('u')), 1});
    msghdr message{};
    message.msg_iov = reinterpret_cast<iovec *>(vector);
    message.msg_iovlen = 1;
    message.msg_control = reinterpret_cast<void *>(control);
    message.msg_controllen = sizeof(DescriptorMessage);
    const uint64_t head = batch.in_value(message);
    // User mode only where the task may not have more: writes of the kernel are noted all the same.
    const size_t made =
        batch.call(SYS_userfaultfd, {static_cast<uint64_t>(O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY)});
    batch.store_result(control + CMSG_LEN(0), made);
    const size_t sent = batch.call_with_word(SYS_sendmsg, {0, head, MSG_NOSIGNAL}, 0, agent.passed_fd());
    batch.call_with_result(SYS_close, {0}, 0, made);
    TRY(agent.run(batch, theirs.get()));
    if (batch.result(made) < 0)
        return base::fail_sys(static_cast<int>(-batch.result(made)), "userfaultfd");
    if (batch.result(sent) < 0)
        return base::fail_sys(static_cast<int>(-batch.result(sent)), "hand over the userfaultfd");
    return take(ours.get());
}

} // namespace tracking
