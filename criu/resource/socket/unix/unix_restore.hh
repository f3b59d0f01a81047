// What the files that restore unix sockets share. All sockets of a network namespace are made at once, when the first
// is opened: connecting is an affair of two, and processes that stand in for the peers of SO_PEERCRED serve many.
#pragma once

#include "criu/resource/socket/peer_identity.hh"
#include "criu/resource/socket/unix/unix_socket.hh"
#include "sk-packet.pb.h"

#include <functional>

namespace resource {

struct UnixNode {
    FileId id;
    const img::unix_sk_entry *entry = nullptr;
    base::UniqueFd made;    ///< until it is opened
    int opened = -1;        ///< then the engine's
    base::UniqueFd gone;    ///< the end of a peer that nobody has open: closed when it has sent what waits
    bool bound = false;     ///< to a name of its own: not to its listener's
    bool connected = false; ///< datagrams: already has its peer

    int fd() const { return opened >= 0 ? opened : made.get(); }
    bool external() const { return entry->uflags() & kUnixExternal; }
    bool is(int type) const { return entry->type() == static_cast<uint32_t>(type); }
};

using SkPacket = image::Entry<img::sk_packet_entry>;

/// A connection that will wait in a listener's queue again.
struct WaitingClient {
    UnixNode *listener = nullptr;
    UnixNode *client = nullptr; ///< null: it is gone
    const img::ext_unix_pending *pending = nullptr;
    base::UniqueFd gone;

    int fd() const { return client ? client->fd() : gone.get(); }
};

/// Of one network namespace.
struct UnixRestoreState {
    bool made = false, completed = false;
    std::map<uint32_t, UnixNode> nodes; ///< by inode
    std::set<uint32_t> given; ///< ids of those that the caller or a plugin gives: their peers and queues are his affair
    std::unordered_map<uint32_t, std::vector<SkPacket>> queues;
    std::vector<WaitingClient> waiting;
    std::vector<std::string> new_files; ///< socket files that did not exist before
    bool tells_descriptors = false;
    /// FileOpenContext::go_to: a path is that of a mount namespace. 0 is where the root task lives.
    std::function<Result<void>(uint32_t file)> go_to;

    UnixNode *find(uint32_t inode) {
        auto found = nodes.find(inode);
        return found == nodes.end() ? nullptr : &found->second;
    }
};

/// Where a name is bound.
struct BindJob {
    int fd = -1;
    std::string name;
    const img::unix_sk_entry *entry = nullptr; ///< null: a name that shall not be seen by others
};

/// Binds sockets to their names. Files of deleted names and of peers that are gone never appear anywhere.
Result<void> bind_unix_sockets(UnixRestoreState &state, const std::vector<BindJob> &jobs);
/// Modes and owners of their files; up to here everybody may connect.
Result<void> restore_unix_file_modes(const UnixRestoreState &state);

/// Connects to a socket whatever became of its name. The call can be made for any process that shares our descriptors.
class UnixTarget {
public:
    static Result<UnixTarget> of(int fd);
    Result<void> connect(int fd) const;
    const UnixAddress &address() const { return address_; }

private:
    base::UniqueFd file_;
    UnixAddress address_;
};

/// Connected pairs of streams and sequenced packets, and those of them that have lost their peer.
Result<void> make_unix_connections(base::Log &log, UnixRestoreState &state);
/// Connections that wait in listening sockets; makes these listen for good.
Result<void> make_unix_listeners(base::Log &log, UnixRestoreState &state);
/// Pairs of datagram sockets without names.
Result<void> make_unix_datagram_pairs(base::Log &log, UnixRestoreState &state);

/// Fills all queues; connects datagram sockets on the way.
Result<void> fill_unix_queues(FileOpenContext &context, UnixRestoreState &state);

/// A new socket, which does not block.
Result<base::UniqueFd> new_unix_socket(uint32_t type);

} // namespace resource
