// What the tracker does all day: nothing, until somebody asks or the tree has ended.

#include "criu/engine/tracking/protocol.hh"

#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace tracking {
namespace {

class Loop {
public:
    Loop(int listener, int root, State state) : listener_(listener), root_(root), state_(std::move(state)) {}

    /// Until the end.
    void run() {
        for (;;) {
            pollfd events[] = {{root_, POLLIN, 0}, {listener_, POLLIN, 0}};
            if (poll(events, 2, -1) < 0 && errno != EINTR)
                return;
            if (events[0].revents)
                return; // a tree without its root is no tree
            if (!(events[1].revents & POLLIN))
                continue;
            const base::UniqueFd client(accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC));
            if (client && is_own(client.get()) && !talk_to(client.get()))
                return;
        }
    }

private:
    /// One client, to its end. False: it was told to end.
    bool talk_to(int client) {
        for (;;) {
            pollfd events[] = {{client, POLLIN, 0}, {root_, POLLIN, 0}};
            if (poll(events, 2, -1) < 0 && errno != EINTR)
                return true;
            if (!(events[0].revents) && events[1].revents)
                return false;
            if (!events[0].revents)
                continue;
            auto packet = receive(client);
            if (!packet || !*packet)
                return true;
            if ((*packet)->word == Word::End)
                return finish(client);
            if (!answer(client, **packet))
                return true;
        }
    }

    bool finish(int client) {
        state_ = {}; // closing is what takes the protection back
        (void)send(client, {.word = Word::Done});
        return false;
    }

    Result<void> answer(int client, const Packet &packet) {
        switch (packet.word) {
        case Word::Read:
            return send_state(client, state_);
        case Word::Invalidate:
            state_.run_id.clear();
            return send(client, {.word = Word::Done});
        case Word::State:
            state_ = TRY(receive_state(client, packet));
            return send(client, {.word = Word::Done});
        case Word::End:
        case Word::Task:
        case Word::Done:
            break;
        }
        return base::bad_image("nothing that a tracker understands");
    }

    int listener_, root_;
    State state_;
};

} // namespace

void serve(int listener, Identity root, State state) {
    const base::UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, root.pid.value, 0)));
    if (pidfd)
        Loop(listener, pidfd.get(), std::move(state)).run();
    _exit(0);
}

} // namespace tracking
