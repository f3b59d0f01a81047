#include "criu/pages/link.hh"

namespace pages {
namespace {

Result<std::unique_ptr<Channel>> channel_on(const Link &link, TlsSide side, base::UniqueFd socket) {
    if (link.tls.on)
        return tls_channel(link.tls, side, link.endpoint.address, std::move(socket));
    return plain_channel(std::move(socket));
}

} // namespace

Result<std::unique_ptr<Channel>> connect_channel(const Link &link) {
    return channel_on(link, TlsSide::Asks, TRY(connect_to(link.endpoint)));
}

Result<std::unique_ptr<Channel>> accepted_channel(const Link &link, base::UniqueFd socket) {
    return channel_on(link, TlsSide::Answers, std::move(socket));
}

} // namespace pages
