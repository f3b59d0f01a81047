// The conversation with the agent: requests and replies over its socket, batches through its memory.
#include "base/fd_message.hh"
#include "compel/injection.hh"
#include "compel/patience.hh"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

namespace compel {

// Threads that work for us can be stopped by others: SIGSTOP cannot be blocked, and SIGCONT makes those of a stopped
// task report once more. Nobody else would let them go on.
Result<bool> Injection::resume_stopped(std::span<const ThreadRun> working) {
    bool any = TRY(resume_if_stopped(leader_));
    for (const ThreadRun &run : working)
        any |= TRY(resume_if_stopped(run.thread));
    return any;
}

/// `working`: threads that must get somewhere for the answer to come, beside the one that serves.
Result<int64_t> Injection::read_reply(std::span<const ThreadRun> working) {
    agent::Reply reply{};
    for (Patience patience; patience.lasts();)
        if (recv(socket_.get(), &reply, sizeof reply, MSG_DONTWAIT) == static_cast<ssize_t>(sizeof reply))
            return reply.value;
    // One that was stopped is likely to stop again at once: by the signal, then with its group. Who is slower there
    // than the signals come (cpulimit) gets nowhere.
    constexpr int kFirstLookMs = 1, kLongestPauseMs = 100;
    std::optional<Patience> patience;
    const auto began = std::chrono::steady_clock::now();
    for (int pause_ms = kFirstLookMs;;) {
        pollfd poller{socket_.get(), POLLIN, 0};
        const bool at_once = patience && patience->lasts();
        if (poll(&poller, 1, at_once ? 0 : pause_ms) > 0)
            break;
        if (std::chrono::steady_clock::now() - began > std::chrono::milliseconds(kTimeoutMs))
            return base::fail_sys(ETIMEDOUT, "the agent does not answer");
        if (TRY(resume_stopped(working))) {
            patience.emplace();
            pause_ms = kFirstLookMs;
        } else if (!at_once) {
            pause_ms = std::min(2 * pause_ms, kLongestPauseMs);
        }
    }
    ssize_t n = recv(socket_.get(), &reply, sizeof reply, 0);
    if (n != static_cast<ssize_t>(sizeof reply))
        return base::fail(base::ErrorKind::Died, "the task died");
    return reply.value;
}

Result<void> Injection::send(agent::Command command, int fd) {
    agent::Request request{command, 0};
    if (base::send_with_fds(socket_.get(), &request, sizeof request, std::span(&fd, fd < 0 ? 0 : 1)) < 0)
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
