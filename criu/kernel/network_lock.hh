// Holding back the packets of TCP connections while nobody can answer them: one table of nf_tables per checkpoint, made
// and deleted in one transaction each, whatever the number of connections.
//
// Packets with the mark kPassMark go through: those that a restore sends to its own sockets.
#pragma once

#include "base/result.hh"
#include "base/unique_fd.hh"

#include <array>
#include <cstdint>
#include <span>
#include <string>

namespace kernel {

using base::Result;

inline constexpr uint32_t kPassMark = 0xc114;

/// A connection as its local socket sees it. Addresses in network order, ports in host order; IPv4 takes 4 bytes.
struct Connection {
    bool v6 = false;
    std::array<uint8_t, 16> local{}, peer{};
    uint16_t local_port = 0, peer_port = 0;
};

/// The table's name for a dump: what CRIU 4.2 makes of it, which cuts it to 31 bytes.
std::string lock_table_name(const std::string &run_id);

/// Drops what comes in and goes out for the connections, in the network namespace of the caller. Whatever ends us ends
/// the lock: the kernel deletes the table when the last copy of the descriptor is closed (NFT_TABLE_F_OWNER,
/// Linux 5.12; on older ones it stays until it is released). Errors: System, with a hint.
class HeldNetworkLock {
public:
    HeldNetworkLock() = default;
    static Result<HeldNetworkLock> take(std::string table, std::span<const Connection> connections);
    bool held() const { return static_cast<bool>(socket_); }
    int fd() const { return socket_.get(); }
    /// From here on the table stays whatever becomes of us, until somebody deletes it. There is no instant without it.
    Result<void> make_lasting(std::span<const Connection> connections);
    /// Deletes the table. Safe after fork, also with a copy of the descriptor.
    Result<void> release();

private:
    HeldNetworkLock(base::UniqueFd socket, std::string table) : socket_(std::move(socket)), table_(std::move(table)) {}
    base::UniqueFd socket_;
    std::string table_;
};

/// Deletes a table that nobody owns. Returns whether there was one.
Result<bool> unlock_network(const std::string &table);
Result<bool> is_network_locked(const std::string &table);

} // namespace kernel
