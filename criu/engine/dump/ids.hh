// Numbers of kernel objects in the image.
#pragma once

#include "criu/tree/facts.hh"
#include "images_pb.hh"

namespace dump {

/// The object numbers of a task. Namespaces are the tool's own: all tasks live in them.
img::task_kobj_ids_entry ids_entry(const tree::SharedIds &ids);

/// The tool's own numbers, for the inventory: a task whose namespace number differs has a namespace of its own.
img::task_kobj_ids_entry own_ids_entry();

} // namespace dump
