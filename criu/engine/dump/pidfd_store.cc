#include "criu/engine/dump/pidfd_store.hh"

#include "base/fd_message.hh"
#include "criu/kernel/io.hh"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

namespace dump {
namespace {

using Numbers = std::array<int32_t, base::kMostPassedFds>; ///< of the processes whose pidfds go with the message

/// What fdinfo says of a pidfd: the number of its process, -1 once it has ended.
std::optional<int> process_of(int pidfd) {
    const auto text = kernel::read_file(AT_FDCWD, fmt::format("/proc/self/fdinfo/{}", pidfd).c_str());
    constexpr std::string_view kKey = "\nPid:";
    const size_t at = text ? text->find(kKey) : std::string::npos;
    if (at == std::string::npos)
        return std::nullopt;
    return atoi(text->c_str() + at + kKey.size());
}

} // namespace

Result<PidfdStore> PidfdStore::open(int socket) {
    int family = 0, type = 0;
    socklen_t size = sizeof family;
    const bool sound = getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &family, &size) == 0 && family == AF_UNIX &&
                       getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_DGRAM;
    if (!sound)
        return base::fail(base::ErrorKind::Usage, "pidfd_store_sk: not a unix socket of the type SOCK_DGRAM");
    PidfdStore store(base::UniqueFd(fcntl(socket, F_DUPFD_CLOEXEC, 3)));
    if (!store.socket_)
        return base::fail_sys("pidfd_store_sk");
    TRY_CTX(store.connect_to_itself(), "pidfd_store_sk");
    TRY_CTX(store.take_out(), "pidfd_store_sk");
    TRY_CTX(store.put_in(), "pidfd_store_sk");
    return store;
}

Result<void> PidfdStore::connect_to_itself() {
    sockaddr_un address{};
    socklen_t length = sizeof address;
    if (getpeername(socket_.get(), reinterpret_cast<sockaddr *>(&address), &length) == 0)
        return {}; // by an earlier round
    address.sun_family = AF_UNIX;
    length = sizeof address;
    if (getsockname(socket_.get(), reinterpret_cast<sockaddr *>(&address), &length) < 0)
        return base::fail_sys("getsockname");
    if (length == sizeof(sa_family_t)) { // the kernel chooses an abstract name
        if (bind(socket_.get(), reinterpret_cast<const sockaddr *>(&address), sizeof(sa_family_t)) < 0)
            return base::fail_sys("bind");
        length = sizeof address;
        if (getsockname(socket_.get(), reinterpret_cast<sockaddr *>(&address), &length) < 0)
            return base::fail_sys("getsockname");
    }
    if (connect(socket_.get(), reinterpret_cast<const sockaddr *>(&address), length) < 0)
        return base::fail_sys("connect it to itself");
    return {};
}

Result<void> PidfdStore::take_out() {
    for (;;) {
        Numbers numbers{};
        std::vector<base::UniqueFd> fds;
        const ssize_t got = base::receive_with_fds(socket_.get(), numbers.data(), sizeof numbers, fds, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return {};
        if (got < 0)
            return base::fail_sys("receive");
        const size_t count = std::min(static_cast<size_t>(got) / sizeof(int32_t), fds.size());
        for (size_t i = 0; i < count; i++)
            processes_.insert_or_assign(base::Pid(numbers[i]), std::move(fds[i]));
    }
}

Result<void> PidfdStore::put_in() {
    for (auto next = processes_.begin(); next != processes_.end();) {
        Numbers numbers{};
        std::array<int, base::kMostPassedFds> fds{};
        size_t count = 0;
        for (; next != processes_.end() && count < numbers.size(); ++next, ++count) {
            numbers[count] = next->first.value;
            fds[count] = next->second.get();
        }
        if (base::send_with_fds(socket_.get(), numbers.data(), count * sizeof(int32_t), std::span(fds).first(count)) <
            0)
            return base::fail_sys("send");
    }
    return {};
}

PidfdStore::Answer PidfdStore::ask(base::Pid pid) const {
    const auto known = processes_.find(pid);
    if (known == processes_.end())
        return Answer::Unknown;
    // The number beside it is only what somebody has written there.
    return process_of(known->second.get()) == pid.value ? Answer::Same : Answer::Other;
}

Result<void> PidfdStore::keep(const std::vector<tree::TaskFacts> &tasks) {
    TRY(take_out());
    processes_.clear();
    for (const tree::TaskFacts &task : tasks) {
        if (task.zombie)
            continue;
        base::UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, task.pid.value, 0)));
        if (pidfd)
            processes_.emplace(task.pid, std::move(pidfd));
        else if (errno != ESRCH) // it has ended meanwhile
            return base::fail_sys(fmt::format("pidfd_open of task {}", task.pid.value));
    }
    return put_in();
}

} // namespace dump
