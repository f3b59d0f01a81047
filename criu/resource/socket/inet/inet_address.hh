// Addresses of internet sockets, between the kernel's structures and the image's words.
#pragma once

#include "base/result.hh"
#include "criu/kernel/network_lock.hh"
#include "images_pb.hh"

#include <array>
#include <cstdint>
#include <netinet/in.h>
#include <optional>
#include <string>
#include <string_view>

namespace resource {

using base::Result;

struct Endpoint {
    int family = AF_INET;
    std::array<uint8_t, 16> address{}; ///< network order; IPv4 takes 4 bytes
    uint16_t port = 0;                 ///< host order
    uint32_t scope = 0;                ///< interface of a link-local IPv6 address
    uint32_t flowinfo = 0;

    bool any() const { return address == std::array<uint8_t, 16>{}; }
    bool is_set() const { return port != 0 || !any(); }
    size_t bytes() const { return family == AF_INET ? 4 : 16; }
    /// An IPv4 address in IPv6's clothes.
    bool is_mapped() const;
    /// The IPv4 address inside, or itself.
    Endpoint unmapped() const;
    bool operator==(const Endpoint &) const = default;
};

/// What getsockname(2) and getpeername(2) say.
Result<Endpoint> local_endpoint(int fd);
std::optional<Endpoint> peer_endpoint(int fd);

/// "127.0.0.1:80", "[::1]:80"
std::string to_text(const Endpoint &endpoint);

struct SocketAddress {
    sockaddr_in6 storage{};
    socklen_t length = 0;
    const sockaddr *get() const { return reinterpret_cast<const sockaddr *>(&storage); }
};
SocketAddress to_sockaddr(const Endpoint &endpoint);
std::string to_bytes(const Endpoint &endpoint); ///< a struct sockaddr, as images keep it
/// Errors: BadImage.
Result<Endpoint> from_bytes(std::string_view bytes);
Endpoint from_sockaddr(const sockaddr_in6 &address);

/// Puts the addresses into the entry; `peer` may be null.
void write_endpoints(const Endpoint &local, const Endpoint *peer, img::inet_sk_entry *entry);
/// Errors: BadImage for families, addresses and ports that cannot be.
Result<Endpoint> read_local(const img::inet_sk_entry &entry);
Result<Endpoint> read_peer(const img::inet_sk_entry &entry);

/// For the network lock: mapped addresses count as IPv4, as they do on the wire.
kernel::Connection to_connection(const Endpoint &local, const Endpoint &peer);

} // namespace resource
