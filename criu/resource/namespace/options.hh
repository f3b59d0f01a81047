// What users may ask for that concerns namespaces.
#pragma once

#include "criu/resource/namespace/mounts/externals.hh"

#include <vector>

namespace resource {

/// A network device that comes from the caller's namespace: --external KIND[INSIDE]:OUTSIDE.
struct GivenLink {
    enum class Way {
        Pair,  ///< veth: a pair is made, OUTSIDE is the other end, `NAME@BRIDGE` makes it a port
        Move,  ///< netdev: the device goes inside
        Above, ///< macvlan: lies upon the device
    } way;
    std::string inside, outside;
};

struct NamespaceOptions {
    mounts::Externals mounts;
    std::vector<GivenLink> links;
    bool empty_net = false; ///< --empty-ns net: the network is the caller's business
};

} // namespace resource
