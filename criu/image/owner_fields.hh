// Which fields of images are users and groups.
#pragma once

#include "base/id_map.hh"

#include <google/protobuf/message.h>

namespace image {

/// Turns every user and group in a message, and in those inside of it, into what the tree calls them. Owners of control
/// groups stay: CRIU keeps those as the host has them.
void translate_owners(google::protobuf::Message &message, const base::OwnerMaps &maps);

} // namespace image
