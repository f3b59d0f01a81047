#include "criu/plan/address_space.hh"

#include "criu/resource/mm/numa_policy.hh"
#include "criu/resource/mm/vma_status.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/mman.h>
#include <sys/mman.h>

namespace plan {
namespace {

using namespace resource;
using img::vma_entry;

constexpr uint64_t kSmall = 1u << 20;
// Shadow memory of sanitizers, heaps of collectors: terabytes of which a few pages are used.
constexpr uint64_t kGigantic = uint64_t{1} << 36;
constexpr uint64_t kClearance = uint64_t{1} << 34; // our own mappings grow meanwhile
constexpr uint32_t kMapDroppable = 0x08;
constexpr uint32_t kLargestPage = 30; // its logarithm

bool is_special(const vma_entry &vma, bool vdso_as_memory) {
    const uint32_t kinds = kVmaVvar | kVmaVsyscall | kVmaGuard | kVmaUprobes | (vdso_as_memory ? 0 : kVmaVdso);
    return vma.status() & kinds;
}

std::string name_of(const TaskImage &task, const vma_entry &vma) {
    return fmt::format("mm-{}.img: mapping {:#x}", task.pid, vma.start());
}

Result<Region::Kind> kind_of(const TaskImage &task, const vma_entry &vma) {
    const uint32_t status = vma.status();
    if (vma.ext().numa_nodes().size() > kMostNodeBytes)
        return base::bad_image(fmt::format("{} has too long a set of nodes", name_of(task, vma)));
    if (status & kVmaAioRing)
        return Region::Kind::AioRing;
    if ((status & kVmaAnonShared) && vma.ext().of_shared())
        return Region::Kind::CopyOfShared;
    if (status & kVmaSocket) // a ring: mapped like any shared file
        return Region::Kind::SharedFile;
    if (status & kVmaSysvIpc)
        return Region::Kind::SysvSegment;
    if (status & (kVmaShadowStack | kVmaPlugin))
        return base::unsupported(
            fmt::format("{} is of a kind that is not supported yet (status {:#x})", name_of(task, vma), status));
    if (status & kVmaAnonPrivate)
        return Region::Kind::Anonymous;
    if (status & kVmaAnonShared)
        return Region::Kind::SharedAnonymous;
    if ((status & kVmaMemfd) && (status & kVmaFileShared))
        return Region::Kind::Memfd;
    if (status & kVmaFilePrivate)
        return Region::Kind::PrivateFile;
    if (status & kVmaFileShared)
        return Region::Kind::SharedFile;
    return base::bad_image(fmt::format("{} has an unknown status {:#x}", name_of(task, vma), status));
}

/// Whether the mapping's first own page lies in [start, end).
bool has_pages(const TaskImage &task, uint64_t start, uint64_t end) {
    const auto run = task.pages.first_behind(start);
    return run != task.pages.runs.end() && run->start < end;
}

/// Protection while in the arena: writable where contents come in.
uint32_t arena_prot(const TaskImage &task, const vma_entry &vma) {
    return has_pages(task, vma.start(), vma.end()) ? PROT_READ | PROT_WRITE : vma.prot();
}

/// Images of old lack the flags of the mapped file.
bool may_write(const vma_entry &vma) {
    return vma.has_fdflags() ? (vma.fdflags() & O_ACCMODE) == O_RDWR : (vma.prot() & PROT_WRITE) != 0;
}

bool wants_small_pages(const vma_entry &vma) {
    return vma.madv() >> MADV_NOHUGEPAGE & 1;
}

/// Mappings of glibc's arenas alternate between small writable pieces and gigantic reserved ones: only small ones join.
bool joins(const Region &region, const vma_entry &vma, Region::Kind kind) {
    constexpr uint32_t kAlone = MAP_GROWSDOWN | MAP_HUGETLB | MAP_LOCKED | kMapDroppable;
    const bool alike = vma.prot() == region.prot;
    if (region.small_pages != wants_small_pages(vma))
        return false;
    return kind == Region::Kind::Anonymous && region.kind == kind && region.end == vma.start() &&
           region.flags == vma.flags() && !(vma.flags() & kAlone) && !vma.has_ext() &&
           (alike || vma.end() - vma.start() < kSmall);
}

Result<std::vector<Region>> make_regions(const TaskImage &task, bool vdso_as_memory) {
    std::vector<Region> regions;
    for (const vma_entry &vma : task.mm.vmas()) {
        if (is_special(vma, vdso_as_memory))
            continue;
        Region::Kind kind = TRY(kind_of(task, vma));
        if (!regions.empty() && joins(regions.back(), vma, kind)) {
            regions.back().end = vma.end();
            regions.back().prot |= PROT_READ | PROT_WRITE;
            continue;
        }
        Region region{.kind = kind,
                      .start = vma.start(),
                      .end = vma.end(),
                      .flags = vma.flags(),
                      .pgoff = vma.pgoff(),
                      .object = vma.shmid(),
                      .may_write = may_write(vma),
                      .small_pages = wants_small_pages(vma)};
        if (kind == Region::Kind::CopyOfShared)
            region.object = (vma.shmid() & ~kOfSegment) | (vma.status() & kVmaSysvIpc ? kOfSegment : 0);
        if (kind == Region::Kind::AioRing) // its contents wait in ordinary memory for the kernel's new ring
            region.flags = MAP_PRIVATE | MAP_ANONYMOUS;
        region.prot = region.holds_pages() ? arena_prot(task, vma) : vma.prot();
        regions.push_back(region);
    }
    return regions;
}

bool compatible(const Region &parent, const Region &child) {
    if (parent.kind != child.kind || parent.flags != child.flags || !parent.is_private() || parent.by_agent)
        return false;
    return child.kind == Region::Kind::Anonymous ||
           (parent.object == child.object && parent.pgoff - parent.start == child.pgoff - child.start);
}

/// The parent's region that contains `address`, or null.
Region *region_at(AddressSpace &space, uint64_t address) {
    auto it = std::upper_bound(space.regions.begin(), space.regions.end(), address,
                               [](uint64_t a, const Region &region) { return a < region.end; });
    return it != space.regions.end() && it->start <= address ? &*it : nullptr;
}

/// Whether it can lie at its place from the beginning: gigantic, and nothing of ours is near.
bool fits_in_place(const Region &region, std::span<const Range> own) {
    return region.kind == Region::Kind::Anonymous && region.size() >= kGigantic &&
           std::ranges::none_of(own, [&](const Range &range) {
               return range.start < region.end + kClearance && region.start < range.end + kClearance;
           });
}

/// Cuts a region where the parent's regions begin and end, and marks the pieces that the parent has.
void inherit(const Region &whole, AddressSpace *parent, std::vector<Region> &out) {
    if (!parent || !whole.is_private() ||
        (whole.flags & (MAP_GROWSDOWN | MAP_HUGETLB | kMapDroppable)) == MAP_HUGETLB) {
        out.push_back(whole);
        return;
    }
    for (uint64_t at = whole.start; at < whole.end;) {
        Region *above = region_at(*parent, at);
        auto next = std::lower_bound(parent->regions.begin(), parent->regions.end(), at + 1,
                                     [](const Region &region, uint64_t a) { return region.start < a; });
        uint64_t end = above ? above->end : next == parent->regions.end() ? whole.end : next->start;
        Region piece = whole;
        piece.start = at;
        piece.end = std::min(end, whole.end);
        piece.pgoff = whole.pgoff + (at - whole.start);
        if (above && compatible(*above, piece)) {
            piece.inherited = true;
            piece.at = above->at + (at - above->start);
            piece.in_place = above->in_place;
            above->passed_on = true;
        }
        at = piece.end;
        out.push_back(piece);
    }
}

uint64_t place(const Region &region, uint64_t &cursor) {
    // The same offset within a huge page as at the final address: then the kernel moves whole page tables.
    const uint32_t huge = region.flags & MAP_HUGETLB ? region.flags >> MAP_HUGE_SHIFT & 0x3f : 0;
    const uint64_t page = std::max(base::kHugePageSize, uint64_t{1} << std::min(huge, kLargestPage));
    uint64_t at = (cursor + page - 1) & ~(page - 1);
    at += region.start & (page - 1);
    cursor = at + region.size();
    return at;
}

} // namespace

bool Region::can_wait() const {
    return kind == Kind::Anonymous && !by_agent && !(flags & (MAP_LOCKED | MAP_HUGETLB)) &&
           (flags & MAP_TYPE) != kMapDroppable;
}

uint32_t anonymous_flags(const Region &region) {
    static_assert(kKeptMapFlags == (MAP_NORESERVE | MAP_GROWSDOWN | MAP_HUGETLB | (0x3fu << MAP_HUGE_SHIFT)));
    const bool droppable = (region.flags & MAP_TYPE) == kMapDroppable;
    return (region.flags & kKeptMapFlags) | MAP_FIXED | MAP_ANONYMOUS | (droppable ? kMapDroppable : MAP_PRIVATE);
}

// Threads of 64-bit programs may run 32-bit code. The actions of signals tell, where they are not those of the parent.
bool is_32bit(const TaskImage &task) {
    if (task.dead())
        return false;
    const auto &actions = task.core().tc().sigactions();
    if (!actions.empty())
        return std::ranges::any_of(actions, [](const img::sa_entry &action) { return action.compat_sigaction(); });
    return task.core().thread_info().gpregs().mode() == img::COMPAT;
}

SpecialMappings special_mappings(const TaskImage &task) {
    SpecialMappings found;
    for (const vma_entry &vma : task.mm.vmas()) {
        if (vma.status() & kVmaVvar)
            found.vvar = {vma.start(), vma.end()};
        if (vma.status() & kVmaVdso)
            found.vdso = {vma.start(), vma.end()};
    }
    return found;
}

Result<AddressSpace> plan_address_space(const TaskImage &task, AddressSpace *parent, bool vdso_as_memory,
                                        std::span<const Range> own) {
    AddressSpace space;
    space.special = special_mappings(task);
    space.is_32bit = is_32bit(task);
    vdso_as_memory = vdso_as_memory && !space.is_32bit;
    for (Region &region : TRY(make_regions(task, vdso_as_memory))) {
        // Droppable memory comes back empty, whatever an image holds of it: random state is not to be shared by clones.
        region.by_agent = region.kind == Region::Kind::Anonymous &&
                          ((region.flags & MAP_TYPE) == kMapDroppable || !has_pages(task, region.start, region.end));
        if (region.by_agent)
            space.regions.push_back(region);
        else
            inherit(region, parent, space.regions);
    }
    uint64_t cursor = parent ? parent->arena_used : 0;
    constexpr uint64_t kMost = 1ull << 46;
    for (Region &region : space.regions) {
        if (region.inherited || region.by_agent)
            continue;
        region.in_place = fits_in_place(region, own);
        region.at = region.in_place ? region.start : place(region, cursor);
        if (cursor > kMost)
            return base::unsupported(
                fmt::format("task {}: its mappings do not fit into half of the address space", task.pid));
    }
    space.arena_used = cursor;
    return space;
}

void rebase(AddressSpace &space, const Arena &arena) {
    for (Region &region : space.regions)
        if (!region.in_place && !region.by_agent)
            region.at += arena.memory();
}

} // namespace plan
