// Files under /proc/PID: a regular file's entry by path, but the task must be there before it can be opened.
#pragma once

#include "criu/resource/file/file.hh"

#include <optional>

namespace resource {

/// What /proc/PID/..., /proc/PID/task/TID/... lead to.
struct ProcTarget {
    uint32_t pid = 0;
    uint32_t tid = 0; ///< 0: the process
    bool operator==(const ProcTarget &) const = default;
};

/// Nothing for paths that do not begin so.
std::optional<ProcTarget> proc_target(std::string_view path);

/// Whether a file lies in the directory of a task in a procfs.
bool is_proc_file(const OpenFile &file);

/// Makes sure that the task can be found again: it is in the tree, or dead (then a remap is written). Of a living one
/// outside of the tree only the path is kept, with a warning.
Result<void> dump_proc_file(FileDumpContext &context, const OpenFile &file, const std::string &path);

/// Refuses a file that is opened early, of a file system that can only be made when the tasks are there.
Result<void> check_proc_below(FileDumpContext &context, const OpenFile &file);

/// The same as far as it shows from outside of a running tree.
void examine_proc_file(const OpenFile &file, const Examined &known);

/// Opens the file of a dead task through a process that stands in for it.
Result<base::UniqueFd> open_dead_proc_file(const img::reg_file_entry &reg, uint32_t pid);

/// Changes to a directory of a dead task, which has to be there for that.
Result<void> enter_dead_proc_directory(const img::reg_file_entry &reg, uint32_t pid);

/// The operation whose result is the file, with its position set.
Result<plan::OpRef> open_late_proc_file(LatePlan &late, const img::reg_file_entry &reg);

} // namespace resource
