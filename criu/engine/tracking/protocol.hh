// What the tool and the tracker say to each other: packets of one size, some with a descriptor.
#pragma once

#include "criu/engine/tracking/tracker.hh"

#include <optional>
#include <sys/un.h>

namespace tracking {

enum class Word : uint32_t { Read, Invalidate, End, State, Task, Done };

struct Packet {
    Word word{};
    int32_t pid = 0;
    uint64_t start = 0;
    char run_id[48] = {}; ///< ends with a zero
};
static_assert(sizeof(Packet) == 64);

/// `fd` goes along unless it is -1. Errors: System.
Result<void> send(int socket, const Packet &packet, int fd = -1);
/// Nothing when the other side has gone. Errors: System; BadImage for what is no packet.
Result<std::optional<Packet>> receive(int socket, base::UniqueFd *fd = nullptr);

/// A state as the packets State, Task..., Done.
Result<void> send_state(int socket, const State &state);
/// What follows the packet `head`.
Result<State> receive_state(int socket, const Packet &head);

/// The name that a tracker listens at, and its length.
struct Address {
    sockaddr_un name{};
    socklen_t size = 0;
};
Address address_of(Identity root);

/// Whether the other end of the socket is of our own user.
bool is_own(int socket);

/// Becomes the tracker: serves at `listener` until the root of the tree is gone, or until it is told to end.
[[noreturn]] void serve(int listener, Identity root, State state);

} // namespace tracking
