// What users may ask for that concerns namespaces.
#pragma once

#include "criu/resource/namespace/mounts/externals.hh"
#include "criu/tree/namespaces.hh"

#include <optional>
#include <utility>
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

/// A namespace that the root of the tree is to live in instead of its own: --join-ns KIND:PLACE[,UID,GID].
struct JoinedNamespace {
    tree::NamespaceKind kind{};
    std::string place;                                ///< a pid or a path
    std::optional<std::pair<uint32_t, uint32_t>> ids; ///< who it becomes there, in a user namespace
};

struct NamespaceOptions {
    mounts::Externals mounts;
    std::vector<GivenLink> links;
    std::vector<JoinedNamespace> joined;
    bool empty_net = false; ///< --empty-ns net: the network is the caller's business
};

} // namespace resource
