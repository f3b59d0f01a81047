// What users may ask for that concerns namespaces.
#pragma once

#include "criu/resource/namespace/mounts/externals.hh"

namespace resource {

struct NamespaceOptions {
    mounts::Externals mounts;
};

} // namespace resource
