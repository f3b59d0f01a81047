// What a request works with: its options, folders and log.
#pragma once

#include "base/log.hh"
#include "criu/service/connection.hh"
#include "criu/service/option_fields.hh"

namespace service {

/// Whom a worker serves.
enum class Standing : uint8_t {
    Caller,  ///< swrk: it was started by its client, and may do what the client may
    Trusted, ///< the service, for root
    Anybody, ///< the service, for anybody else: with his rights, and nothing that needs trust
};

struct Session {
    cli::Options options;
    base::UniqueFd images, work; ///< open while the request is served; options know the number of the first
    base::UniqueFd pidfd_store;  ///< the client's socket; options know its number
    base::Log log;
};

/// The options of a request, over the given ones. Errors: what is refused, with the field's name.
Result<cli::Options> options_of(const img::criu_opts &from, const cli::Options &defaults, const Peer &peer,
                                Standing standing);

/// Opens folders and log, and makes the work folder current.
Result<Session> open_session(const img::criu_opts &from, const cli::Options &defaults, const Peer &peer,
                             Standing standing);
/// For a request that needs no images: only a log, if there is to be one.
Result<Session> open_plain_session(const img::criu_opts &from, const cli::Options &defaults, const Peer &peer,
                                   Standing standing);

} // namespace service
