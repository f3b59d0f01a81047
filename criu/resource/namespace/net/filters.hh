// Packet filters of a network namespace: nftables, and the tables of the old iptables.
#pragma once

#include "criu/resource/namespace/namespace.hh"

namespace resource::net {

// ---- in a thread that is inside of the namespace

/// Why its packet filters cannot be saved. Errors: Unsupported.
Result<void> check_filters();
Result<void> dump_filters(NamespaceDumpContext &context, uint32_t id);

// ---- in the root task, in its fresh namespace

Result<void> fill_filters(NamespaceFillContext &context);

} // namespace resource::net
