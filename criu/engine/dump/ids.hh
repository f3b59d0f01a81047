// Numbers of kernel objects in the image.
#pragma once

#include "criu/tree/facts.hh"
#include "images_pb.hh"

namespace dump {

/// The object numbers of a task.
img::task_kobj_ids_entry ids_entry(const tree::TaskFacts &task, const tree::Namespaces &namespaces);

/// The tool's own numbers, for the inventory: a task whose namespace number differs has a namespace of its own.
img::task_kobj_ids_entry host_ids_entry(const tree::Namespaces &namespaces);

} // namespace dump
