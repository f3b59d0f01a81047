// Links of a container whose other end, or whose device below, is in the network of whoever restores it.
#pragma once

#include "criu/resource/namespace/namespace.hh"

namespace resource::net {

/// In the caller's network namespace, while the tree's is fresh: pairs are made, devices moved. Each is noted to be
/// taken back; what was made ends by itself with the tree's namespace.
/// Errors: Unsupported with a hint where the caller has to say which device; System.
Result<void> bring_links(NamespaceBringContext &context);

} // namespace resource::net
