// What lies behind a mapping. /proc/PID/map_files leads to it, for who has CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE in
// the initial user namespace. Who has them in another one only (rootless containers) gets there by other ways, or not.
#pragma once

#include "criu/engine/dump/memory.hh"

namespace dump {

/// The link of a mapping in /proc.
std::string map_file(const tree::TaskFacts &task, const parse::Vma &vma);

/// Shared anonymous memory as a file; a copy where it cannot be opened, of what any task of the tree has mapped.
Result<base::UniqueFd> open_shared(const MemoryDumpContext &context, const tree::TaskFacts &task,
                                   const parse::Vma &vma);

/// The file of a mapping, for FileTable: by its link, else by its name in the tree, where that still leads to it.
Result<base::FileId> add_mapped_file(const MemoryDumpContext &context, const tree::TaskFacts &task,
                                     const parse::Vma &vma, int flags);

} // namespace dump
