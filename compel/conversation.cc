// The conversation with the agent: requests and replies over its socket, batches through its memory.
#include "compel/injection.hh"
#include "compel/patience.hh"

#include <cerrno>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

namespace compel {

Result<int64_t> Injection::read_reply() {
    agent::Reply reply{};
    pollfd poller{socket_.get(), POLLIN, 0};
    for (Patience patience; patience.lasts();)
        if (recv(socket_.get(), &reply, sizeof reply, MSG_DONTWAIT) == static_cast<ssize_t>(sizeof reply))
            return reply.value;
    int ready;
    do
        ready = poll(&poller, 1, kTimeoutMs);
    while (ready < 0 && errno == EINTR);
    if (ready == 0)
        return base::fail_sys(ETIMEDOUT, "the agent does not answer");
    ssize_t n = recv(socket_.get(), &reply, sizeof reply, 0);
    if (n != static_cast<ssize_t>(sizeof reply))
        return base::fail(base::ErrorKind::Died, "the task died");
    return reply.value;
}

Result<void> Injection::send(agent::Command command, int fd) {
    agent::Request request{command, 0};
    iovec iov{&request, sizeof request};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
    msghdr msg{};
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    if (fd >= 0) {
        msg.msg_control = control;
        msg.msg_controllen = sizeof control;
        cmsghdr *head = CMSG_FIRSTHDR(&msg);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof fd);
        std::memcpy(CMSG_DATA(head), &fd, sizeof fd);
    }
    if (sendmsg(socket_.get(), &msg, MSG_NOSIGNAL) < 0)
        return base::fail(base::ErrorKind::Died, "the task died");
    return {};
}

Result<int64_t> Injection::command(agent::Command command, int fd) {
    TRY(send(command, fd));
    return read_reply();
}

Result<void> Injection::run(Batch &batch, int fd) {
    TRY(submit(batch, fd));
    return collect(batch);
}

Result<void> Injection::submit(const Batch &batch, int fd) {
    if (!batch.fits())
        return base::fail(base::ErrorKind::Bug, "a batch does not fit into the agent's memory");
    TRY(memory_->write(batch.base_, batch.image()));
    agent::OpList list{batch.ops_address(), static_cast<uint32_t>(batch.calls()), agent::kNoFailure};
    TRY(memory_->write_value(base::RemotePtr<agent::OpList>(control_ + offsetof(agent::Control, list)), list));
    TRY(send(agent::Command::Run, fd));
    replies_ = true;
    return {};
}

Result<void> Injection::collect(Batch &batch) {
    replies_ = false;
    TRY(read_reply());
    auto image = batch.image();
    TRY(memory_->read(batch.base_, image));
    batch.read_back(image);
    return {};
}

} // namespace compel
