#include "criu/resource/socket/inet/inet_address.hh"

#include <algorithm>
#include <arpa/inet.h>
#include <cstring>
#include <fmt/format.h>
#include <net/if.h>

namespace resource {
namespace {

constexpr std::array<uint8_t, 12> kMappedPrefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool is_link_local(const Endpoint &endpoint) {
    return endpoint.family == AF_INET6 && endpoint.address[0] == 0xfe && (endpoint.address[1] & 0xc0) == 0x80;
}

Result<Endpoint> read(const img::inet_sk_entry &entry, const google::protobuf::RepeatedField<uint32_t> &words,
                      uint32_t port, uint32_t scope) {
    if (entry.family() != AF_INET && entry.family() != AF_INET6)
        return base::bad_image(fmt::format("an internet socket of the family {}", entry.family()));
    Endpoint endpoint{.family = static_cast<int>(entry.family()), .port = static_cast<uint16_t>(port)};
    if (port > UINT16_MAX || static_cast<size_t>(words.size()) * 4 > endpoint.address.size())
        return base::bad_image(
            fmt::format("file {}: an internet socket with an impossible address or port {}", entry.id(), port));
    memcpy(endpoint.address.data(), words.data(),
           std::min(endpoint.bytes(), static_cast<size_t>(words.size()) * sizeof(uint32_t)));
    if (is_link_local(endpoint))
        endpoint.scope = scope;
    return endpoint;
}

void write_words(const Endpoint &endpoint, google::protobuf::RepeatedField<uint32_t> *words) {
    uint32_t raw[4] = {};
    memcpy(raw, endpoint.address.data(), sizeof raw);
    for (size_t i = 0; i < endpoint.bytes() / 4; i++)
        words->Add(raw[i]);
}

} // namespace

bool Endpoint::is_mapped() const {
    return family == AF_INET6 && std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), address.begin());
}

Endpoint Endpoint::unmapped() const {
    if (!is_mapped())
        return *this;
    Endpoint v4{.family = AF_INET, .port = port};
    std::copy(address.begin() + 12, address.end(), v4.address.begin());
    return v4;
}

Endpoint from_sockaddr(const sockaddr_in6 &address) {
    Endpoint endpoint{.family = address.sin6_family, .port = ntohs(address.sin6_port)};
    if (endpoint.family == AF_INET) {
        memcpy(endpoint.address.data(), &reinterpret_cast<const sockaddr_in &>(address).sin_addr, 4);
    } else {
        memcpy(endpoint.address.data(), &address.sin6_addr, 16);
        endpoint.scope = address.sin6_scope_id;
        endpoint.flowinfo = address.sin6_flowinfo;
    }
    return endpoint;
}

Result<Endpoint> local_endpoint(int fd) {
    sockaddr_in6 address{};
    socklen_t length = sizeof address;
    if (getsockname(fd, reinterpret_cast<sockaddr *>(&address), &length) < 0)
        return base::fail_sys("getsockname");
    return from_sockaddr(address);
}

std::optional<Endpoint> peer_endpoint(int fd) {
    sockaddr_in6 address{};
    socklen_t length = sizeof address;
    if (getpeername(fd, reinterpret_cast<sockaddr *>(&address), &length) < 0)
        return std::nullopt;
    return from_sockaddr(address);
}

std::string to_text(const Endpoint &endpoint) {
    char text[INET6_ADDRSTRLEN] = "?";
    inet_ntop(endpoint.family, endpoint.address.data(), text, sizeof text);
    return endpoint.family == AF_INET6 ? fmt::format("[{}]:{}", text, endpoint.port)
                                       : fmt::format("{}:{}", text, endpoint.port);
}

SocketAddress to_sockaddr(const Endpoint &endpoint) {
    SocketAddress address;
    address.storage.sin6_family = static_cast<sa_family_t>(endpoint.family);
    address.storage.sin6_port = htons(endpoint.port);
    if (endpoint.family == AF_INET) {
        memcpy(&reinterpret_cast<sockaddr_in &>(address.storage).sin_addr, endpoint.address.data(), 4);
        address.length = sizeof(sockaddr_in);
        return address;
    }
    memcpy(&address.storage.sin6_addr, endpoint.address.data(), 16);
    address.storage.sin6_scope_id = endpoint.scope;
    address.storage.sin6_flowinfo = endpoint.flowinfo;
    address.length = sizeof(sockaddr_in6);
    return address;
}

std::string to_bytes(const Endpoint &endpoint) {
    const SocketAddress address = to_sockaddr(endpoint);
    return std::string(reinterpret_cast<const char *>(&address.storage), address.length);
}

Result<Endpoint> from_bytes(std::string_view bytes) {
    sockaddr_in6 address{};
    if (bytes.size() > sizeof address || bytes.size() < sizeof(sockaddr_in))
        return base::bad_image("an address of a wrong length");
    memcpy(&address, bytes.data(), bytes.size());
    if (address.sin6_family != AF_INET && (address.sin6_family != AF_INET6 || bytes.size() != sizeof address))
        return base::bad_image("an address of a wrong family");
    return from_sockaddr(address);
}

void write_endpoints(const Endpoint &local, const Endpoint *peer, img::inet_sk_entry *entry) {
    const Endpoint nobody{.family = local.family};
    entry->set_src_port(local.port);
    write_words(local, entry->mutable_src_addr());
    entry->set_dst_port(peer ? peer->port : 0);
    write_words(peer ? *peer : nobody, entry->mutable_dst_addr());
    char name[IFNAMSIZ] = {};
    if (local.scope && if_indextoname(local.scope, name))
        entry->set_ifname(name);
    if (peer && peer->scope)
        entry->mutable_ext()->set_dst_ifindex(peer->scope);
    if (peer && peer->flowinfo)
        entry->mutable_ext()->set_flowinfo(peer->flowinfo);
}

Result<Endpoint> read_local(const img::inet_sk_entry &entry) {
    uint32_t scope = 0;
    if (entry.has_ifname() && (scope = if_nametoindex(entry.ifname().c_str())) == 0)
        return base::fail_sys(fmt::format("find the interface {}", entry.ifname()));
    return read(entry, entry.src_addr(), entry.src_port(), scope);
}

Result<Endpoint> read_peer(const img::inet_sk_entry &entry) {
    uint32_t scope = entry.ext().dst_ifindex();
    if (!scope && entry.has_ifname())
        scope = if_nametoindex(entry.ifname().c_str());
    Endpoint peer = TRY(read(entry, entry.dst_addr(), entry.dst_port(), scope));
    peer.flowinfo = entry.ext().flowinfo();
    return peer;
}

kernel::Connection to_connection(const Endpoint &local, const Endpoint &peer) {
    const Endpoint from = local.unmapped(), to = peer.unmapped();
    return {.v6 = from.family == AF_INET6,
            .local = from.address,
            .peer = to.address,
            .local_port = from.port,
            .peer_port = to.port};
}

} // namespace resource
