#include "criu/engine/restore/memory.hh"

#include "criu/engine/restore/page_reader.hh"
#include "criu/resource/mm/sysv_segment.hh"
#include "criu/resource/mm/vma_status.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

namespace restore {
namespace {

using plan::Region;

Part part_of(const Region &region) {
    return region.passed_on ? Part::PassedOn : Part::Own;
}

void *pointer(uint64_t address) {
    return reinterpret_cast<void *>(address);
}

/// A descriptor of the region's file for mapping it. CRIU's images have one entry for all mappings of a file, opened
/// for reading: how each of them was opened is told by the mapping alone.
Result<int> file_to_map(const RestoreContext &context, const Region &region, base::UniqueFd &reopened) {
    const int fd = context.stash.at(static_cast<uint32_t>(region.object));
    if (region.is_private() || !region.may_write || (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR)
        return fd;
    reopened.reset(open(fmt::format("/proc/self/fd/{}", fd).c_str(), O_RDWR | O_CLOEXEC));
    if (!reopened)
        return base::fail_sys(fmt::format("open the file behind {:#x} for writing", region.start));
    return reopened.get();
}

/// Moves the beginning of larger memory to where the region is prepared, and unmaps the rest.
Result<void> move_beginning(void *from, uint64_t size, const Region &region) {
    munmap(static_cast<std::byte *>(from) + region.size(), size - region.size());
    if (mremap(from, region.size(), region.size(), MREMAP_MAYMOVE | MREMAP_FIXED, pointer(region.at)) == MAP_FAILED)
        return base::fail_sys(fmt::format("move the memory for {:#x}", region.start));
    return {};
}

/// Shared memory that nobody else maps: made and filled in place, without a descriptor. Programs may have tens of
/// thousands of such mappings, more than the limit on open files.
Result<void> map_unshared(const RestoreContext &context, const Region &region) {
    const auto pages = TRY(pages::index_pages(context.checkpoint.chain, image::ImageKind::ShmemPagemap, region.object));
    const uint64_t size = std::max(region.size(), pages.object_size());
    const bool whole = size == region.size();
    const int flags =
        MAP_SHARED | MAP_ANONYMOUS | (whole ? MAP_FIXED : 0) | static_cast<int>(region.flags & MAP_NORESERVE);
    void *at = mmap(whole ? pointer(region.at) : nullptr, size, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (at == MAP_FAILED)
        return base::fail_sys(fmt::format("map {} bytes for {:#x}", size, region.start));
    TRY(fill_shared(context.checkpoint.chain, region.object, pages, static_cast<std::byte *>(at), size));
    if (!whole) // The end of it is mapped nowhere, but stays.
        TRY(move_beginning(at, size, region));
    if (mprotect(pointer(region.at), region.size(), static_cast<int>(region.prot)) < 0)
        return base::fail_sys(fmt::format("protect {:#x}", region.start));
    return {};
}

/// Breakpoints of probes come in with saved pages, and the kernel asks whose they are only in address spaces where it
/// has met a probe: when a file is mapped that cannot be written. Ours are writable while they are filled.
void meet_probes(int fd, const Region &region) {
    void *met = mmap(nullptr, region.size(), PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, static_cast<off_t>(region.pgoff));
    if (met != MAP_FAILED)
        munmap(met, region.size());
}

Result<void> map_region(const RestoreContext &context, const Region &region) {
    int fd = -1;
    base::UniqueFd reopened;
    uint32_t flags = (region.flags & plan::kKeptMapFlags) | MAP_FIXED;
    switch (region.kind) {
    case Region::Kind::AioRing:
    case Region::Kind::Anonymous:
        flags = plan::anonymous_flags(region);
        break;
    case Region::Kind::PrivateFile:
        flags |= MAP_PRIVATE;
        fd = TRY(file_to_map(context, region, reopened));
        if (context.checkpoint.inventory.allow_uprobes())
            meet_probes(fd, region);
        break;
    case Region::Kind::SharedFile:
    case Region::Kind::Memfd:
        flags |= MAP_SHARED;
        fd = TRY(file_to_map(context, region, reopened));
        break;
    case Region::Kind::SysvSegment:
        return resource::attach_segment(static_cast<int>(region.object), region.pgoff, region.size(), region.at,
                                        static_cast<int>(region.prot), region.may_write);
    case Region::Kind::CopyOfShared:
        flags |= MAP_PRIVATE;
        fd = context.shared_memory.at(region.object);
        break;
    case Region::Kind::SharedAnonymous:
        if (!context.shared_memory.contains(region.object))
            return map_unshared(context, region);
        flags |= MAP_SHARED;
        fd = context.shared_memory.at(region.object);
        break;
    }
    const auto offset = static_cast<off_t>(fd < 0 ? 0 : region.pgoff);
    if (mmap(pointer(region.at), region.size(), static_cast<int>(region.prot), static_cast<int>(flags), fd, offset) ==
        MAP_FAILED)
        return base::fail_sys(fmt::format("map {} bytes for {:#x}", region.size(), region.start));
    if (region.small_pages)
        madvise(pointer(region.at), region.size(), MADV_NOHUGEPAGE);
    return {};
}

Result<int> keep_number(const RestoreContext &context, int fd) {
    const int number = fcntl(fd, F_DUPFD_CLOEXEC, context.stash_room.from);
    if (number < 0)
        return base::fail_sys("keep a descriptor of shared memory");
    return number;
}

/// Where pages of the image go: regions of this part that have contents of their own, ascending by final address.
std::vector<const Region *> targets(const plan::AddressSpace &space, Part part) {
    std::vector<const Region *> found;
    for (const Region &region : space.regions)
        if (region.holds_pages() && !region.by_agent && part_of(region) == part)
            found.push_back(&region);
    return found;
}

/// The task whose memory a child has when it begins; null for none.
const plan::TaskImage *parent_of(const RestoreContext &context, const plan::Node &node) {
    if (node.parent < 0)
        return nullptr;
    const plan::Node &above = context.topology.nodes[static_cast<size_t>(node.parent)];
    return above.task < 0 ? nullptr : &context.task(above);
}

/// Pages that the parent had here and the task does not: back to zero, or to the file.
void forget_others_pages(const plan::TaskImage &parent, const plan::TaskImage &task, const Region &region) {
    auto drop = [&](uint64_t from, uint64_t to) {
        if (from < to)
            madvise(pointer(region.at + (from - region.start)), to - from, MADV_DONTNEED);
    };
    for (auto theirs = parent.pages.first_behind(region.start);
         theirs != parent.pages.runs.end() && theirs->start < region.end; ++theirs) {
        uint64_t at = std::max(theirs->start, region.start);
        const uint64_t end = std::min(theirs->end, region.end);
        for (auto own = task.pages.first_behind(at); at < end; ++own) {
            if (own == task.pages.runs.end() || own->start >= end) {
                drop(at, end);
                break;
            }
            drop(at, own->start);
            at = std::max(at, own->end);
        }
    }
}

/// What the parent had where this task's own pages come later: it would be taken for them.
void forget_before_waiting(const plan::TaskImage &task, const Region &region) {
    if (!region.can_wait())
        return;
    for (auto run = task.pages.first_behind(region.start); run != task.pages.runs.end() && run->start < region.end;
         ++run) {
        const uint64_t from = std::max(run->start, region.start), to = std::min(run->end, region.end);
        if (run->lazy)
            madvise(pointer(region.at + (from - region.start)), to - from, MADV_DONTNEED);
    }
}

} // namespace

Result<void> restore_memory(RestoreContext &context, const plan::Node &node, Part part, MemoryCounters &counters) {
    const plan::TaskImage &task = context.task(node);
    const plan::AddressSpace &space = context.space(node);
    for (const Region &region : space.regions)
        if (part_of(region) == part && !region.inherited && !region.by_agent)
            TRY(map_region(context, region));
    // What the parent has mapped has the protection that its own contents needed.
    for (const Region &region : space.regions)
        if (part_of(region) == part && region.inherited &&
            mprotect(pointer(region.at), region.size(), static_cast<int>(region.prot)) < 0)
            return base::fail_sys("protect inherited memory");
    const plan::TaskImage *parent = parent_of(context, node);
    for (const Region &region : space.regions)
        if (parent && part_of(region) == part && region.inherited) {
            forget_others_pages(*parent, task, region);
            if (context.request.lazy_pages)
                forget_before_waiting(task, region);
        }
    return read_pages(context.checkpoint.chain, task, parent ? &parent->pages : nullptr, targets(space, part),
                      {.lazily = context.request.lazy_pages, .unpackers = context.request.unpackers}, counters);
}

Result<void> create_shared_memory(RestoreContext &context) {
    struct Use {
        uint64_t size = 0;
        unsigned mappings = 0;
        bool by_descriptor = false; // of the beginning there is no mapping, or it is a private one
    };
    std::map<uint64_t, Use> uses; // by id
    for (const plan::AddressSpace &space : context.spaces)
        for (const Region &region : space.regions)
            if (region.kind == Region::Kind::SharedAnonymous || region.kind == Region::Kind::CopyOfShared) {
                Use &use = uses[region.object];
                use.size = std::max(use.size, region.pgoff + region.size());
                use.mappings++;
                use.by_descriptor |= region.pgoff != 0 || region.kind == Region::Kind::CopyOfShared;
            }
    for (auto [id, use] : uses) {
        if (use.mappings == 1 && !use.by_descriptor)
            continue; // see map_unshared()
        if (id & plan::kOfSegment) {
            const auto open_own = [&](uint64_t from, uint64_t to) { return context.outside.open_mapping(from, to); };
            const auto file = TRY(resource::open_segment(static_cast<int>(id & ~plan::kOfSegment), open_own));
            context.shared_memory[id] = TRY(keep_number(context, file.get()));
            continue;
        }
        const auto pages = TRY(pages::index_pages(context.checkpoint.chain, image::ImageKind::ShmemPagemap, id));
        const uint64_t size = std::max(use.size, pages.object_size());
        // A mapping of anonymous shared memory, and a descriptor of the file behind it: the tasks' own mappings are
        // then of the same kind ("/dev/zero (deleted)"), whatever their offset.
        void *at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED)
            return base::fail_sys(fmt::format("map {} bytes of shared memory", size));
        TRY(fill_shared(context.checkpoint.chain, id, pages, static_cast<std::byte *>(at), size));
        const auto start = reinterpret_cast<uint64_t>(at);
        const base::UniqueFd fd = context.outside.open_mapping(start, start + base::page_up(size));
        if (!fd)
            return base::fail_sys("open shared memory (needs CAP_CHECKPOINT_RESTORE)");
        context.shared_memory[id] = TRY(keep_number(context, fd.get()));
        munmap(at, size);
    }
    return {};
}

} // namespace restore
