// A page connection as it is asked for: where the other end is, and whether what goes over it is encrypted.
#pragma once

#include "criu/pages/connection.hh"
#include "criu/pages/tls.hh"

#include <memory>
#include <string>

namespace pages {

struct Link {
    Endpoint endpoint;
    TlsSettings tls;
};

/// Connects, as the side that asks. Errors: as connect_to().
Result<std::unique_ptr<Channel>> connect_channel(const Link &link);
/// On a connection that the other side has made.
Result<std::unique_ptr<Channel>> accepted_channel(const Link &link, base::UniqueFd socket);

} // namespace pages
