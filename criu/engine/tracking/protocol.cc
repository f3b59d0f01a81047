#include "criu/engine/tracking/protocol.hh"

#include "base/fd_message.hh"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

namespace tracking {

Result<void> send(int socket, const Packet &packet, int fd) {
    if (base::send_with_fds(socket, &packet, sizeof packet, std::span(&fd, fd < 0 ? 0 : 1)) !=
        static_cast<ssize_t>(sizeof packet))
        return base::fail_sys("talk to the tracker");
    return {};
}

Result<std::optional<Packet>> receive(int socket, base::UniqueFd *fd) {
    Packet packet;
    std::vector<base::UniqueFd> received;
    const ssize_t n = base::receive_with_fds(socket, &packet, sizeof packet, received);
    if (n < 0)
        return base::fail_sys("listen to the tracker");
    if (n == 0)
        return std::nullopt;
    if (n != static_cast<ssize_t>(sizeof packet))
        return base::bad_image("the tracker speaks another language");
    packet.run_id[sizeof packet.run_id - 1] = '\0';
    if (fd && !received.empty())
        *fd = std::move(received.front());
    return packet;
}

Result<void> send_state(int socket, const State &state) {
    Packet head{.word = Word::State};
    state.run_id.copy(head.run_id, sizeof head.run_id - 1);
    TRY(send(socket, head));
    for (const Tracked &task : state.tasks)
        TRY(send(socket, {.word = Word::Task, .pid = task.task.pid.value, .start = task.task.start}, task.uffd.get()));
    return send(socket, {.word = Word::Done});
}

Result<State> receive_state(int socket, const Packet &head) {
    State state{.run_id = head.run_id, .tasks = {}};
    for (;;) {
        base::UniqueFd fd;
        auto packet = TRY(receive(socket, &fd));
        if (packet && packet->word == Word::Done)
            return state;
        if (!packet || packet->word != Word::Task || !fd)
            return base::bad_image("the tracker broke off");
        state.tasks.push_back({{Pid(packet->pid), packet->start}, std::move(fd)});
    }
}

Address address_of(Identity root) {
    Address address;
    address.name.sun_family = AF_UNIX;
    const std::string name = fmt::format("criu.tracker.{}.{}", root.pid.value, root.start);
    name.copy(address.name.sun_path + 1, sizeof address.name.sun_path - 1); // abstract: begins with a zero
    address.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    return address;
}

bool is_own(int socket) {
    ucred peer{};
    socklen_t size = sizeof peer;
    return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

} // namespace tracking
