// The mappings of a stopped task: /proc/PID/smaps, or where that takes long the same from maps and a list of the flags.
#pragma once

#include "base/ids.hh"
#include "criu/kernel/memory/mapping_flags.hh"
#include "criu/parse/maps.hh"

#include <optional>

namespace dump {

using base::Result;

/// One for all tasks of a tree. Not for several threads at once.
class MappingReader {
public:
    /// Before the tree of `root` is stopped: where a process of it is large, what takes some time is done now.
    static MappingReader prepare(base::Pid root);

    /// `proc_dir`: /proc/PID of a thread; `resident`: bytes of memory that the task has.
    Result<std::vector<parse::Vma>> read(int proc_dir, base::Pid thread, uint64_t resident);

private:
    const kernel::MappingFlags *quick_way();
    std::optional<std::vector<parse::Vma>> read_quickly(int proc_dir, base::Pid thread);

    std::optional<kernel::MappingFlags> flags_;
    bool tried_ = false;
};

} // namespace dump
