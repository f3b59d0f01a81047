#include "criu/pages/link.hh"

namespace pages {

Result<std::unique_ptr<Channel>> connect_channel(const Link &link) {
    return plain_channel(TRY(connect_to(link.endpoint)));
}

Result<std::unique_ptr<Channel>> accepted_channel(const Link &, base::UniqueFd socket) {
    return plain_channel(std::move(socket));
}

} // namespace pages
