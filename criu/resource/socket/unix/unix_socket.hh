// What the files about unix sockets share.
//
// Dump: unix_socket_dump.cc (the socket, its peers, its accept queue), unix_names.cc (where the file of its name is),
// unix_queue_dump.cc (what waits in it). Restore: unix_socket_restore.cc (creates and connects them all at once),
// unix_socket_bind.cc (names), unix_queue_restore.cc (contents), peer_identity.cc (for SO_PEERCRED).
#pragma once

#include "criu/kernel/unix_diag.hh"
#include "criu/resource/file/file.hh"
#include "criu/resource/socket/peek_guard.hh"

#include <set>
#include <string_view>
#include <sys/socket.h>
#include <sys/un.h>
#include <unordered_map>

namespace resource {

// unix_sk_entry.state, as the kernel calls them
constexpr uint32_t kUnixEstablished = 1, kUnixClosed = 7, kUnixListening = 10;
// unix_sk_entry.uflags
constexpr uint32_t kUnixExternal = 1, kUnixService = 2, kUnixOfPlugin = 4;
// scm_entry.type: SCM_RIGHTS; and how many descriptors one message passes (SCM_MAX_FD)
constexpr uint32_t kScmRights = 1;
constexpr size_t kMaxPassed = 253;

/// An AF_UNIX address of `length` bytes.
struct UnixAddress {
    sockaddr_un address{};
    socklen_t length = 0;

    const sockaddr *get() const { return reinterpret_cast<const sockaddr *>(&address); }
    sockaddr *get() { return reinterpret_cast<sockaddr *>(&address); }
};
/// From what the images hold: sun_path, the final zero of a path included.
Result<UnixAddress> unix_address(std::string_view name);
/// The name of an address, as in the images. `length` as the kernel gave it.
std::string unix_name(const UnixAddress &address);
/// A path without its final zero.
std::string_view unix_path(std::string_view name);
inline bool is_path(std::string_view name) {
    return !name.empty() && name[0] != '\0';
}
/// A name for people.
std::string show_unix_name(std::string_view name);

// ---- dump ----------------------------------------------------------------------------------------------------------

struct UnixPlace {
    bool deleted = false;
    std::string name_dir, path, root;
    struct stat stat {};
};

struct UnixDumpState {
    bool loaded = false;
    std::unordered_map<uint32_t, kernel::UnixSocket> sockets; ///< of the whole machine, by inode
    std::unordered_map<uint32_t, uint32_t> networks;          ///< inode -> the image's number of its network namespace
    std::unordered_map<uint32_t, uint32_t> waiting_at;        ///< client that was not accepted yet -> listener
    std::unordered_map<uint32_t, Pid> dumped;                 ///< sockets of the tree -> who has them
    std::map<std::tuple<uint32_t, uint32_t, std::string>, UnixPlace> places;
    struct Kept {
        base::UniqueFd fd;
        img::file_entry entry;
    };
    std::set<uint32_t> of_plugins;
    std::vector<Kept> undecided; ///< whose peers may turn out to be outside, which is for plugins to know
    /// Sockets whose peers do not have them as theirs, or that wait to be accepted: CRIU wants these behind the
    /// listeners and datagram sockets that they refer to.
    std::vector<img::file_entry> clients;
    std::vector<Kept> busy;              ///< listeners with clients that were not accepted yet
    std::vector<Kept *> to_accept;       ///< ... whose connections hold data that only accepting them shows
    uint32_t next_queue_id = UINT32_MAX; ///< for queues of sockets that no task has yet
};

/// Says in the entry where the file of the socket's name is, and what it is like.
Result<void> dump_unix_name(FileDumpContext &context, const OpenFile &file, const kernel::UnixSocket &sk,
                            img::unix_sk_entry *entry);

/// Writes what waits in a socket to sk-queues, as the queue `id`: that of the socket's file, as CRIU has it. Files in
/// it are dumped as well. `inode` is 0 for a socket that no task has yet.
Result<void> dump_unix_queue(FileDumpContext &context, int fd, int type, uint32_t id, uint32_t inode);

/// Fills in what SO_PEERCRED and SO_PEERGROUPS tell. False: nothing.
bool peer_credentials(const FileDumpContext &context, int fd, img::ext_credentials *credentials);

} // namespace resource
