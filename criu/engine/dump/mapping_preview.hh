// Mappings that are read before the tree is stopped.
//
// What flags a mapping has the kernel tells in /proc/PID/smaps only, where it also counts the pages of each: 12 ms a
// GiB, more than all else together that a large task stands still for. Whether the mappings are still what they were
// then can be told from a number that the kernel steps on whenever they may change (mm_struct.mm_lock_seq, Linux 6.4),
// which a BPF program reads. Where it cannot be read, or has changed, smaps is read in the stop, as for small tasks.
#pragma once

#include "base/ids.hh"
#include "criu/kernel/memory/kernel_memory.hh"
#include "criu/parse/maps.hh"

#include <map>
#include <optional>
#include <vector>

namespace dump {

class MappingPreview {
public:
    MappingPreview() = default;
    /// Looks at the tree of `root` while it runs: at those of its processes that are large. Never an error.
    static MappingPreview look(base::Pid root);

    /// The mappings of a process that is stopped now, if they are known still; each once.
    std::optional<std::vector<parse::Vma>> take(base::Pid process);

private:
    /// Which mappings the kernel has for a process, and since which change.
    struct State {
        uint64_t memory = 0, sequence = 0;
        bool operator==(const State &) const = default;
    };
    struct Seen {
        State state;
        std::vector<parse::Vma> vmas;
    };
    std::optional<State> state_of(base::Pid process) const;
    void look_at(base::Pid process);

    std::optional<resource::KernelMemory> kernel_;
    const char *sequence_ = nullptr; ///< how the member is called here
    std::map<base::Pid, Seen> seen_;
};

/// /proc/PID/smaps, parsed as it comes. `fd`: an open one.
base::Result<std::vector<parse::Vma>> read_mappings(int fd);

} // namespace dump
