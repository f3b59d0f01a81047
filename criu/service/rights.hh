// The rights of a worker of the service.
#pragma once

#include "criu/service/connection.hh"

namespace service {

/// Takes on user, groups and nothing but CAP_CHECKPOINT_RESTORE: what the worker does from here on, the kernel lets it
/// do as it would let the client, who gets pids of his choice in addition. For good. Errors: System.
Result<void> become_client(const Peer &peer);

} // namespace service
