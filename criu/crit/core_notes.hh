// Notes of a core file: what a debugger wants to know beside memory (core(5), elf(5)).
#pragma once

#include "core.pb.h"
#include "mm.pb.h"

#include <cstdint>
#include <string>
#include <vector>

namespace crit {

struct CoreThread {
    uint32_t tid = 0;
    img::core_entry core;
};

struct CoreTask {
    uint32_t pid = 0, ppid = 0, pgid = 0, sid = 0;
    uint32_t memory = 0; ///< the task whose images have its memory: itself, or who has made it with CLONE_VM
    std::vector<CoreThread> threads; ///< the leader first
    img::mm_entry mm;
};

/// A mapping of a file, for NT_FILE.
struct CoreMapping {
    uint64_t start = 0, end = 0, page = 0;
    std::string path;
};

/// The contents of the segment PT_NOTE. Pure.
std::string core_notes(const CoreTask &task, const std::vector<CoreMapping> &files);

} // namespace crit
