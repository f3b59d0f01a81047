// One connection of a client: messages of rpc.proto, one a packet, on a unix socket of type SOCK_SEQPACKET.
#pragma once

#include "base/result.hh"
#include "base/unique_fd.hh"
#include "rpc.pb.h"

#include <optional>
#include <string>
#include <vector>

namespace service {

using base::Result;

/// Who has made the client's end of the socket, as the kernel knows.
class Peer {
public:
    /// Errors: System if the socket is no unix socket.
    static Result<Peer> of(int socket);

    pid_t pid() const { return pid_; }
    uid_t uid() const { return uid_; }
    gid_t gid() const { return gid_; }
    const std::vector<gid_t> &groups() const { return groups_; }

    /// Opens what its descriptor refers to anew, with our rights. Errors: System; Died if it has ended, so that the
    /// number might be another process' by now.
    Result<base::UniqueFd> open(int number, int flags) const;
    /// Its descriptor itself, for what cannot be opened anew. Errors: as open().
    Result<base::UniqueFd> fetch(int number) const;
    /// Where the kernel knows no pidfd of a peer (before 6.5), true.
    bool is_alive() const;

private:
    pid_t pid_ = 0;
    uid_t uid_ = 0;
    gid_t gid_ = 0;
    std::vector<gid_t> groups_;
    base::UniqueFd pidfd_;
};

class Connection {
public:
    static Result<Connection> on(base::UniqueFd socket);

    int fd() const { return socket_.get(); }
    const Peer &peer() const { return peer_; }
    /// Inode number of our end: what the client's end is connected to.
    uint32_t inode() const { return inode_; }

    /// The next request; nothing when the client has closed its end. Errors: BadImage for what is no request.
    Result<std::optional<img::criu_req>> receive();
    /// Errors: System, EPIPE if the client has gone.
    Result<void> send(const img::criu_resp &answer, int descriptor = -1);
    /// In a process that has no business with the client.
    void hang_up() { socket_.reset(); }
    /// Whether nobody reads the answers any more.
    bool is_abandoned() const;

private:
    base::UniqueFd socket_;
    Peer peer_;
    uint32_t inode_ = 0;
};

} // namespace service
