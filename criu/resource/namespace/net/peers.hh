// Network namespaces that know each other: the numbers by which one knows the others, and links between them.
#pragma once

#include "criu/resource/namespace/namespace.hh"
#include "netdev.pb.h"

#include <map>

namespace resource::net {

/// In a thread that is inside of one: the image's numbers of the tree's others, by the number that it knows them by.
Result<std::map<int32_t, uint32_t>> known_namespaces(const tree::Namespaces &namespaces);

/// Gives the tree's others the numbers that `entry` says, in the namespace where the thread is.
Result<void> number_namespaces(const NamespaceFillContext &context, const img::netns_entry &entry);

/// The other end of a veth, which is in another namespace of the tree.
struct FarEnd {
    img::net_device_entry device;
    int ns = -1; ///< a descriptor of the context's
};
/// Nothing where it is in the same one, or outside of the tree. Errors: BadImage.
Result<std::optional<FarEnd>> find_far_end(const NamespaceFillContext &context, const img::net_device_entry &device);

} // namespace resource::net
