// Where the paths of a tree lead, for the kinds of files.
#pragma once

#include "criu/resource/file/file.hh"

namespace resource {

Result<TreeMounts> tree_mounts(const tree::Namespaces &namespaces);

} // namespace resource
