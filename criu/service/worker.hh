// Serves one client: request by request, until the connection has had its last one.
#pragma once

#include "criu/service/session.hh"

namespace service {

/// `criu swrk FD`. Exit code: 0, 1 if the request failed, 255 if the client does not keep to the protocol.
int work_for_caller(const cli::Options &options);

/// The same on a connection that was accepted.
int work(Connection &connection, const cli::Options &defaults, Standing standing);

} // namespace service
