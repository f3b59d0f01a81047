// What users may ask for that concerns namespaces.
#pragma once

#include "criu/resource/namespace/mounts/externals.hh"

namespace resource {

struct NamespaceOptions {
    mounts::Externals mounts;
    bool empty_net = false; ///< --empty-ns net: the network is the caller's business
};

} // namespace resource
