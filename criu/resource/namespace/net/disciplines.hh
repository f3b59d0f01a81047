// Queueing disciplines of links (`tc qdisc`), with their classes.
#pragma once

#include "base/result.hh"
#include "netdev.pb.h"

namespace resource::net {

using base::Result;

/// In a thread that is inside of the namespace: why those of a link cannot be made again. Those that the kernel has
/// chosen itself are none. Errors: Unsupported.
Result<void> check_disciplines(uint32_t index, const std::string &name);
Result<void> describe_disciplines(uint32_t index, img::ext_net_device &ext);

/// In the namespace, when the link is there.
Result<void> fill_disciplines(uint32_t index, const img::ext_net_device &ext);

} // namespace resource::net
