// The address space of one task, planned: what is mapped in the arena before the agent runs, and how it gets to its
// place.
#pragma once

#include "criu/plan/checkpoint.hh"
#include "criu/plan/layout.hh"
#include "criu/plan/ops.hh"
#include "criu/plan/vdso.hh"

#include <span>

namespace plan {

/// In Region::object of a CopyOfShared: it is the id of a System V segment.
inline constexpr uint64_t kOfSegment = uint64_t{1} << 63;

/// One stretch of memory that is mapped in the arena and later moved as a whole. Several neighbouring anonymous
/// mappings that differ in protection and advice only are one region: they are told apart after the move.
struct Region {
    enum class Kind : uint8_t {
        Anonymous,
        PrivateFile,
        SharedFile,
        SharedAnonymous,
        Memfd,
        AioRing,
        SysvSegment,
        CopyOfShared, ///< private, of shared anonymous memory or of a segment (kOfSegment)
    } kind = Kind::Anonymous;
    uint64_t start = 0, end = 0; ///< where it belongs
    uint64_t at = 0;             ///< where it is in the arena
    uint32_t prot = 0;           ///< while it is in the arena
    uint32_t flags = 0;          ///< MAP_*
    uint64_t pgoff = 0;          ///< bytes
    uint64_t object = 0;         ///< id of the file, or of the shared memory, with kOfSegment of a System V segment
    bool may_write = false;      ///< shared: of a file that was open for writing, whatever `prot` is now
    bool inherited = false;      ///< the parent has it at the same address: shared until written
    bool small_pages = false;    ///< MADV_NOHUGEPAGE: has to be known before it is filled
    bool passed_on = false;      ///< a child inherits it: must be filled before forking
    bool in_place = false; ///< mapped at `start` from the beginning: too large for the arena, and nothing is there
    bool by_agent = false; ///< holds nothing: the agent maps it, and it takes no room in the arena

    uint64_t size() const { return end - start; }
    /// Userfaultfd can bring its pages while the task runs: plain private memory, which nothing wants to be there.
    bool can_wait() const;
    bool holds_pages() const { return is_private() || kind == Kind::AioRing; }
    bool is_private() const {
        return kind == Kind::Anonymous || kind == Kind::PrivateFile || kind == Kind::CopyOfShared;
    }
    bool operator==(const Region &) const = default;
};

/// Flags of mmap(2) that a mapping keeps whatever it maps.
constexpr uint32_t kKeptMapFlags =
    0x4000 /* NORESERVE */ | 0x100 /* GROWSDOWN */ | 0x40000 /* HUGETLB */ | (0x3fu << 26);

/// Flags of mmap(2) for anonymous memory of the program's own, at an address that is given.
uint32_t anonymous_flags(const Region &region);

/// Whether the process was a 32-bit program: its system calls were, and with them what its signals bring.
bool is_32bit(const TaskImage &task);

/// Special mappings: the kernel's vdso and its data.
struct SpecialMappings {
    Range vvar, vdso; ///< empty if there is none
};

/// Where the image has them.
SpecialMappings special_mappings(const TaskImage &task);

struct AddressSpace {
    std::vector<Region> regions; ///< ascending
    SpecialMappings special;     ///< as in the image
    bool is_32bit = false;       ///< its vdso is the kernel's other one
    uint64_t arena_used = 0;     ///< bytes of arena memory, those inherited included
};

/// Plans the regions of a task. `parent` is null for the root; its regions that this task inherits are marked.
/// Addresses in the arena are relative to its memory until rebase(). Errors: Unsupported, BadImage naming the mapping.
/// `vdso_as_memory`: the image's vdso is from another kernel (vdso.hh). `own`: what is mapped in the restore itself.
Result<AddressSpace> plan_address_space(const TaskImage &task, AddressSpace *parent, bool vdso_as_memory = false,
                                        std::span<const Range> own = {});

/// Adds the arena's address to all regions.
void rebase(AddressSpace &space, const Arena &arena);

/// What the agent finds around it when it starts.
struct Surroundings {
    Arena arena;
    std::vector<Range> special;          ///< the current vvar and vdso mappings, ascending, contiguous
    uint64_t vdso_home = 0;              ///< where the vdso and its data go; 0: to where the image has its own
    std::vector<VdsoPatch> vdso_patches; ///< for the image's vdso, which then is memory like any other
    int exe_fd = -1;                     ///< descriptor of the program, closed by the agent
    int null_fd = -1;                    ///< /dev/null, closed by the agent
    int proc_fd = -1;                    ///< /proc, closed by the agent; only where files are opened late
    int lazy_fd = -1;                    ///< userfaultfd that brings what is left out, closed by the agent
    std::map<uint32_t, int> directories; ///< own_directories() of the task: file id -> descriptor, closed by the agent
    const pages::Chain *chain = nullptr; ///< for the state that lies in memory contents (AIO rings)
};

/// Whether others may look at the memory: after a change of ids, which resets it.
void plan_dumpable(ThreadPlan &plan, const TaskImage &task);

/// Files the operations of the stages Unmap and Memory.
Result<void> plan_memory_ops(ThreadPlan &plan, const TaskImage &task, const AddressSpace &space,
                             const Surroundings &around);

} // namespace plan
