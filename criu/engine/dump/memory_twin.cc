#include "criu/engine/dump/memory_twin.hh"

#include <csignal>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace dump {
namespace {

/// Who has sent the first message, in our pid namespace: the kernel says it.
Result<pid_t> sender_of_first(int socket) {
    char byte = 0;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))] = {};
    iovec part{&byte, 1};
    msghdr message{};
    message.msg_iov = &part, message.msg_iovlen = 1;
    message.msg_control = control, message.msg_controllen = sizeof control;
    constexpr int kPatienceMs = 10'000; // it has only to be scheduled
    pollfd ready{socket, POLLIN, 0};
    if (poll(&ready, 1, kPatienceMs) != 1 || recvmsg(socket, &message, MSG_DONTWAIT) != 1)
        return base::fail_sys(ETIMEDOUT, "wait for a copy of the memory");
    const cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (!head || head->cmsg_type != SCM_CREDENTIALS)
        return base::fail_sys(ESRCH, "find the copy of the memory");
    ucred who{};
    std::memcpy(&who, CMSG_DATA(head), sizeof who);
    return who.pid;
}

} // namespace

Result<MemoryTwin> MemoryTwin::make(compel::Injection &agent) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return base::fail_sys("socketpair");
    base::UniqueFd ours(ends[0]), theirs(ends[1]);
    const int on = 1;
    if (setsockopt(ours.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0)
        return base::fail_sys("SO_PASSCRED");
    compel::Batch batch = agent.batch();
    const size_t made = batch.twin(agent.passed_fd());
    TRY(agent.run(batch, theirs.get()));
    theirs.reset();
    if (batch.result(made) < 0)
        return base::fail_sys(static_cast<int>(-batch.result(made)), "fork a copy of the memory");
    const pid_t pid = TRY(sender_of_first(ours.get()));
    base::UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    if (!process)
        return base::fail_sys("open the copy of the memory");
    auto memory = TRY(compel::RemoteMemory::open(base::Pid(pid)));
    return MemoryTwin(std::move(ours), std::move(process), base::Pid(pid), std::move(memory));
}

MemoryTwin::~MemoryTwin() {
    if (!process_)
        return;
    syscall(SYS_pidfd_send_signal, process_.get(), SIGKILL, nullptr, 0);
    constexpr int kPatienceMs = 5000; // its page tables have to be taken down
    pollfd ended{process_.get(), POLLIN, 0};
    while (poll(&ended, 1, kPatienceMs) < 0 && errno == EINTR) {
    }
}

Result<void> MemoryTwin::read(uint64_t address, std::span<std::byte> into) const {
    return StoppedMemory(pid_, memory_).read(address, into);
}

} // namespace dump
