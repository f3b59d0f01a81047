// Connections that a listening socket has not accepted yet.
//
// No descriptor leads to such a connection, and none can be put into a listener's queue again: so only those whose
// client belongs to the tree as well are kept. They are made anew by a real connect(2), after which the client sends
// what it had sent. Data that the server's side has received already can only be read by accepting it, which a dump
// does as its very last step before the tree is killed; its place in the images is made before.
//
// Both ends are frozen: these connections need no lock of the network, and get none.
#pragma once

#include "criu/resource/socket/inet/inet_socket.hh"

#include <set>

namespace resource {

/// A TCP socket of the tree, for finding the two ends of a connection.
struct TcpEnd {
    FileId file;
    uint64_t inode = 0;
    uint32_t net = 0; ///< the image's number of its network namespace
    int fd = -1;      ///< shares the description
    uint32_t state = 0;
    Endpoint local;
    std::optional<Endpoint> peer;
};

/// A connection that its listener has not accepted yet.
struct PendingEnd {
    size_t client = 0;     ///< index of the client's end
    uint32_t received = 0; ///< bytes that the server's side has
};

/// Connections by the index of the listener that they wait at.
using PendingEnds = std::map<size_t, std::vector<PendingEnd>>;

/// Adds those that wait at the listeners among `ends` that are of the network namespace `net`, where the thread is.
/// Errors: Unsupported if a client is outside of the tree, or if several listeners share the port.
Result<void> find_pending(const std::vector<TcpEnd> &ends, uint32_t net, PendingEnds &pending);

/// Writes what waits at the listener. Data that was received is fetched right before the tree is killed.
Result<void> dump_pending(FileDumpContext &context, const std::vector<TcpEnd> &ends, size_t listener,
                          const std::vector<PendingEnd> &waiting, img::inet_sk_entry *entry);
/// Fetches it.
Result<void> fetch_pending(FileDumpContext &context);

/// The clients of all such connections in a checkpoint, by file id.
std::set<uint32_t> pending_clients(const std::map<uint32_t, img::file_entry> &files);

/// The listener listens already, its clients are bound: connects them.
Result<void> restore_pending(FileOpenContext &context, const img::inet_sk_entry &listener);

} // namespace resource
