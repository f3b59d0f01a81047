// What the packet filter remembers of connections: without it the packets of a translated (NAT) connection go nowhere,
// and those of others are none of an established one.
#pragma once

#include "criu/resource/namespace/namespace.hh"

namespace resource::net {

/// In a thread that is inside of the namespace.
Result<void> dump_conntrack(NamespaceDumpContext &context, uint32_t id);

/// In the root task, in its fresh namespace, behind the packet filters.
Result<void> fill_conntrack(NamespaceFillContext &context);

} // namespace resource::net
