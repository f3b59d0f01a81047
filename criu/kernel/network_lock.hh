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

/// Drops what comes in and goes out for the connections, in the network namespace of the caller, until
/// unlock_network(). A table of that name that is there already is replaced. Errors: Unsupported with a hint where the
/// kernel has no nf_tables.
Result<void> lock_network(const std::string &table, std::span<const Connection> connections);
/// As lock_network(), but the kernel deletes the table itself when the returned descriptor is closed.
Result<base::UniqueFd> lock_network_while_open(const std::string &table, std::span<const Connection> connections);
/// Deletes the table. Returns whether there was one. Safe after fork.
Result<bool> unlock_network(const std::string &table);
Result<bool> is_network_locked(const std::string &table);

} // namespace kernel
