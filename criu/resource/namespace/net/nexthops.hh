// Nexthop objects (`ip nexthop`): where routes lead that say so by number.
#pragma once

#include "criu/resource/namespace/namespace.hh"
#include "netdev.pb.h"

namespace resource::net {

/// In a thread that is inside of the namespace.
Result<void> describe_nexthops(img::netns_entry &entry);

/// In the namespace, behind the addresses and before the routes.
Result<void> fill_nexthops(NamespaceFillContext &context);

} // namespace resource::net
