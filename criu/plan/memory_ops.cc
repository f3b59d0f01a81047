// The agent's part of rebuilding an address space: everything of ours goes, the regions move from the arena to their
// places, protections and advice follow, then the numbers that the kernel keeps about the program.
#include "criu/plan/address_space.hh"
#include "criu/plan/aio.hh"
#include "criu/resource/mm/numa_policy.hh"
#include "criu/resource/mm/vma_status.hh"

#include <algorithm>
#include <fmt/format.h>
#include <linux/userfaultfd.h>
#include <span>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

namespace plan {
namespace {

using namespace resource;

constexpr uint64_t kMove = MREMAP_MAYMOVE | MREMAP_FIXED;
constexpr uint64_t kGuardInstall = 102; // MADV_GUARD_INSTALL
constexpr long kMseal = 462;
constexpr uint64_t kMlockOnFault = 1;

/// Unmaps [from, to) but for the regions that lie at their places already.
void plan_unmap_range(ThreadPlan &plan, const AddressSpace &space, const char *what, uint64_t from, uint64_t to) {
    for (const Region &region : space.regions) {
        if (!region.in_place || region.end <= from || region.start >= to)
            continue;
        if (region.start > from)
            plan.call(Stage::Unmap, what, SYS_munmap, {from, region.start - from});
        from = region.end;
    }
    if (from < to)
        plan.call(Stage::Unmap, what, SYS_munmap, {from, to - from});
}

void plan_unmap(ThreadPlan &plan, const AddressSpace &space, const Surroundings &around) {
    uint64_t park = around.arena.parking();
    for (const Range &range : space.is_32bit ? std::vector<Range>() : around.special) {
        plan.call(Stage::Unmap, "park the vdso", SYS_mremap,
                  {range.start, range.end - range.start, range.end - range.start, kMove, park});
        park += range.end - range.start;
    }
    plan_unmap_range(plan, space, "unmap everything below", 0, around.arena.base);
    plan_unmap_range(plan, space, "unmap everything above", around.arena.end(), base::kUserEnd);
}

/// What of this kernel's vdso a task had: all of it, its data only (valgrind unmaps the code), or nothing.
size_t special_count(const SpecialMappings &image, const Surroundings &around) {
    if (around.special.empty() || image.vdso.end)
        return around.special.size();
    const uint64_t data = around.special.back().start - around.special.front().start;
    return data && image.vvar.end - image.vvar.start == data && !around.vdso_home ? around.special.size() - 1 : 0;
}

// The kernel maps its 32-bit vdso where there is none of any kind, at the address if that is free. So it comes first;
// the call that finds nothing mapped there fails where it went elsewhere.
void plan_vdso_of_32bit(ThreadPlan &plan, const SpecialMappings &image) {
    constexpr uint64_t kMapVdso32 = 0x2002; // ARCH_MAP_VDSO_32
    if (!image.vdso.end)
        return;
    const uint64_t start = image.vvar.end ? image.vvar.start : image.vdso.start;
    plan.call(Stage::Memory, "map the 32-bit vdso", SYS_arch_prctl, {kMapVdso32, start});
    plan.call(Stage::Memory, "look for the 32-bit vdso", SYS_madvise,
              {image.vdso.start, image.vdso.end - image.vdso.start, MADV_NORMAL});
}

/// This kernel's vdso goes to its place. What the task does not have goes with the arena.
void plan_special(ThreadPlan &plan, const AddressSpace &space, const Surroundings &around) {
    if (space.is_32bit)
        return;
    const size_t count = special_count(space.special, around);
    if (!count)
        return;
    uint64_t park = around.arena.parking();
    const uint64_t in_image = space.special.vvar.end ? space.special.vvar.start : space.special.vdso.start;
    const uint64_t first = around.vdso_home ? around.vdso_home : in_image;
    for (const Range &range : std::span(around.special).first(count)) {
        const uint64_t size = range.end - range.start;
        plan.call(Stage::Memory, "move the vdso", SYS_mremap,
                  {park, size, size, kMove, first + (range.start - around.special.front().start)});
        park += size;
    }
    for (const VdsoPatch &patch : around.vdso_patches)
        plan.op(Stage::Memory, "replace a function of the old vdso", agent::OpKind::Copy,
                {space.special.vdso.start + patch.offset, plan.data().add(patch.code), patch.code.size()});
}

// A mapping's protection in the arena, where its region may be writable for the sake of its contents.
uint32_t region_prot(const AddressSpace &space, const img::vma_entry &vma) {
    auto it = std::partition_point(space.regions.begin(), space.regions.end(),
                                   [&](const Region &region) { return region.end <= vma.start(); });
    return it == space.regions.end() ? 0 : it->prot;
}

/// The kernel gives such memory a key of its own, which it takes back when the protection changes: only where it has
/// chosen the key itself.
bool is_execute_only(const img::vma_entry &vma) {
    return vma.prot() == PROT_EXEC;
}

void plan_mapping(ThreadPlan &plan, const AddressSpace &space, const img::vma_entry &vma) {
    const uint64_t start = vma.start(), size = vma.end() - vma.start();
    if (vma.ext().pkey() && !is_execute_only(vma))
        plan.call(Stage::Memory, "pkey_mprotect", SYS_pkey_mprotect, {start, size, vma.prot(), vma.ext().pkey()});
    else if (vma.prot() != region_prot(space, vma) || (vma.status() & kVmaVdso))
        plan.call(Stage::Memory, "mprotect", SYS_mprotect, {start, size, vma.prot()});
    if (vma.ext().has_numa_mode())
        plan_numa_policy(plan, vma);
    for (uint64_t advice = 0; advice < 64; advice++)
        if (vma.madv() >> advice & 1)
            plan.call(Stage::Memory, "madvise", SYS_madvise, {start, size, advice});
    if (vma.flags() & MAP_LOCKED)
        plan.call(Stage::Memory, "mlock2", SYS_mlock2, {start, size, vma.ext().lock_onfault() ? kMlockOnFault : 0});
    if (!vma.ext().anon_name().empty()) {
        const std::string &name = vma.ext().anon_name();
        uint64_t at = plan.data().add(std::as_bytes(std::span(name.c_str(), name.size() + 1)));
        constexpr uint64_t kSetVma = 0x53564d41, kAnonName = 0; // PR_SET_VMA
        plan.try_call(Stage::Memory, "name a mapping", SYS_prctl, {kSetVma, kAnonName, start, size, at});
    }
    if (vma.ext().sealed())
        plan.call(Stage::Reap, "mseal", kMseal, {start, size, 0});
}

// Keys are handed out in ascending order from 1, the kernel's own for execute-only memory as well. Those that mappings
// have though they were freed, and those in between, are freed in the end.
void plan_keys(ThreadPlan &plan, const TaskImage &task) {
    constexpr uint32_t kMost = 15;
    uint32_t used = task.mm.ext().pkeys() & ~1u;
    const img::vma_entry *execute_only = nullptr;
    for (const img::vma_entry &vma : task.mm.vmas()) {
        if (vma.ext().pkey())
            used |= 1u << std::min(vma.ext().pkey(), kMost);
        if (vma.ext().pkey() && is_execute_only(vma))
            execute_only = &vma;
    }
    for (uint32_t key = 1; key <= kMost && used >> key; key++)
        if (execute_only && execute_only->ext().pkey() == key)
            plan.call(Stage::Memory, "mprotect, execute only", SYS_mprotect,
                      {execute_only->start(), execute_only->end() - execute_only->start(), PROT_EXEC});
        else
            plan.expect_call(Stage::Memory, "pkey_alloc", key, SYS_pkey_alloc, {0, 0});
    if (!task.mm.ext().has_pkeys())
        return;
    for (uint32_t key = 1; key <= kMost && used >> key; key++)
        if (!(task.mm.ext().pkeys() >> key & 1))
            plan.call(Stage::Reap, "pkey_free", SYS_pkey_free, {key});
}

/// struct prctl_mm_map of prctl(2).
struct MmMap {
    uint64_t start_code, end_code, start_data, end_data, start_brk, brk, start_stack, arg_start, arg_end, env_start,
        env_end;
    uint64_t auxv;
    uint32_t auxv_size, exe_fd;
};
static_assert(sizeof(MmMap) == 104);

Result<void> plan_fields(ThreadPlan &plan, const TaskImage &task, const Surroundings &around) {
    const img::mm_entry &mm = task.mm;
    constexpr int kMostAuxv = 128;
    if (mm.mm_saved_auxv_size() > kMostAuxv)
        return base::bad_image(fmt::format("mm-{}.img: the auxiliary vector is too long", task.pid));
    std::vector<uint64_t> auxv(mm.mm_saved_auxv().begin(), mm.mm_saved_auxv().end());
    MmMap map{mm.mm_start_code(),
              mm.mm_end_code(),
              mm.mm_start_data(),
              mm.mm_end_data(),
              mm.mm_start_brk(),
              mm.mm_brk(),
              mm.mm_start_stack(),
              mm.mm_arg_start(),
              mm.mm_arg_end(),
              mm.mm_env_start(),
              mm.mm_env_end(),
              plan.data().add(std::as_bytes(std::span(auxv))),
              static_cast<uint32_t>(auxv.size() * 8),
              static_cast<uint32_t>(around.exe_fd)};
    plan.call(Stage::Memory, "prctl(PR_SET_MM_MAP)", SYS_prctl,
              {PR_SET_MM, PR_SET_MM_MAP, plan.data().add_value(map), sizeof map, 0});
    if (around.exe_fd >= 0)
        plan.call(Stage::Memory, "close the program", SYS_close, {static_cast<uint64_t>(around.exe_fd)});
    if (mm.ext().mcl_flags())
        plan.call(Stage::Reap, "mlockall", SYS_mlockall, {mm.ext().mcl_flags() & (MCL_FUTURE | MCL_ONFAULT)});
    if (mm.thp_disabled())
        plan.call(Stage::Reap, "prctl(PR_SET_THP_DISABLE)", SYS_prctl,
                  {PR_SET_THP_DISABLE, 1, task.core().tc().ext().thp_disable_flags() & ~1u, 0, 0});
    plan_dumpable(plan, task);
    return {};
}

/// Whether a page of the region is left to the daemon.
bool has_lazy_pages(const TaskImage &task, const Region &region) {
    if (!region.can_wait())
        return false;
    for (auto run = task.pages.first_behind(region.start); run != task.pages.runs.end() && run->start < region.end;
         ++run)
        if (run->lazy)
            return true;
    return false;
}

/// From here on whoever touches what is not there waits for the daemon.
void plan_waiting(ThreadPlan &plan, const TaskImage &task, const AddressSpace &space, int lazy_fd) {
    if (lazy_fd < 0)
        return;
    const auto fd = static_cast<uint64_t>(lazy_fd);
    for (const Region &region : space.regions)
        if (has_lazy_pages(task, region)) {
            const uffdio_register range{{region.start, region.size()}, UFFDIO_REGISTER_MODE_MISSING, 0};
            plan.call(Stage::Memory, "leave memory to the daemon", SYS_ioctl,
                      {fd, UFFDIO_REGISTER, plan.data().add_value(range)});
        }
    plan.call(Stage::Memory, "close the userfaultfd", SYS_close, {fd});
}

} // namespace

void plan_dumpable(ThreadPlan &plan, const TaskImage &task) {
    constexpr int kRootDumpable = 2; // cannot be asked for: a change of ids brings it about
    if (task.mm.has_dumpable() && task.mm.dumpable() != kRootDumpable)
        plan.call(Stage::Arm, "prctl(PR_SET_DUMPABLE)", SYS_prctl,
                  {PR_SET_DUMPABLE, static_cast<uint64_t>(task.mm.dumpable()), 0, 0, 0});
}

Result<void> plan_memory_ops(ThreadPlan &plan, const TaskImage &task, const AddressSpace &space,
                             const Surroundings &around) {
    plan_unmap(plan, space, around);
    if (space.is_32bit)
        plan_vdso_of_32bit(plan, space.special);
    for (const Region &region : space.regions)
        if (region.by_agent)
            plan.call(Stage::Memory, "map what holds nothing", SYS_mmap,
                      {region.start, region.size(), region.prot, anonymous_flags(region), ~uint64_t{0}, 0});
        else if (region.kind != Region::Kind::AioRing && !region.in_place)
            plan.call(Stage::Memory, "move a mapping", SYS_mremap,
                      {region.at, region.size(), region.size(), kMove, region.start});
    plan_special(plan, space, around);
    plan_keys(plan, task);
    for (const img::vma_entry &vma : task.mm.vmas()) {
        const bool vdso_as_memory = around.vdso_home && !space.is_32bit;
        const uint32_t not_ours = kVmaVvar | kVmaVsyscall | kVmaAioRing | kVmaUprobes | (vdso_as_memory ? 0 : kVmaVdso);
        if (vma.status() & not_ours)
            continue;
        if (vma.status() & kVmaGuard)
            plan.try_call(Stage::Memory, "install guard pages", SYS_madvise,
                          {vma.start(), vma.end() - vma.start(), kGuardInstall});
        else
            plan_mapping(plan, space, vma);
    }
    TRY(plan_aio(plan, task, space, around));
    plan_waiting(plan, task, space, around.lazy_fd);
    return plan_fields(plan, task, around);
}

} // namespace plan
