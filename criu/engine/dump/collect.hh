// The facts of a stopped tree: what /proc, ptrace and kcmp tell from outside. Nothing runs in the tasks here.
#pragma once

#include "compel/freezer.hh"
#include "criu/engine/dump/mappings.hh"
#include "criu/tree/facts.hh"

namespace dump {

using base::Result;

/// Collects the facts of every process of the tree, in the order of the tree (parents first).
/// Errors name the task. Everything that makes a task impossible to dump and can be seen here is refused here.
/// `mappings`: as it was prepared before the tree was stopped.
/// `depth`: what a pre-dump needs are threads, descriptor numbers and mappings, these without their flags.
enum class Depth : uint8_t { Everything, Memory };
Result<std::vector<tree::TaskFacts>> collect(const compel::FrozenTree &tree, Depth depth = Depth::Everything,
                                             MappingReader mappings = {});

/// What errors call a task.
std::string name_of(const tree::TaskFacts &task);

/// The namespaces that the tool and the tree live in, numbered.
Result<tree::Namespaces> number_namespaces(const std::vector<tree::TaskFacts> &tasks);

} // namespace dump
