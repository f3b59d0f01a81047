#include "criu/restore/memory.hh"

#include "criu/resource/mm/vma_status.hh"
#include "criu/restore/page_reader.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

namespace restore {
namespace {

using plan::Region;

constexpr uint32_t kMapDroppable = 0x08;

Part part_of(const Region &region) {
    return region.passed_on ? Part::PassedOn : Part::Own;
}

void *pointer(uint64_t address) {
    return reinterpret_cast<void *>(address);
}

Result<void> map_region(const RestoreContext &context, const Region &region) {
    constexpr uint32_t kKept = MAP_NORESERVE | MAP_GROWSDOWN | MAP_HUGETLB | (0x3fu << 26);
    int fd = -1;
    uint32_t flags = (region.flags & kKept) | MAP_FIXED;
    switch (region.kind) {
    case Region::Kind::AioRing:
    case Region::Kind::Anonymous:
        flags |= MAP_ANONYMOUS |
                 ((region.flags & 0xf) == kMapDroppable ? kMapDroppable : static_cast<uint32_t>(MAP_PRIVATE));
        break;
    case Region::Kind::PrivateFile:
        flags |= MAP_PRIVATE;
        fd = context.stash.at(static_cast<uint32_t>(region.object));
        break;
    case Region::Kind::SharedFile:
    case Region::Kind::Memfd:
        flags |= MAP_SHARED;
        fd = context.stash.at(static_cast<uint32_t>(region.object));
        break;
    case Region::Kind::SharedAnonymous:
        flags |= MAP_SHARED;
        fd = context.shared_memory.at(region.object);
        break;
    }
    const auto offset = static_cast<off_t>(fd < 0 ? 0 : region.pgoff);
    if (mmap(pointer(region.at), region.size(), static_cast<int>(region.prot), static_cast<int>(flags), fd, offset) ==
        MAP_FAILED)
        return base::fail_sys(fmt::format("map {} bytes for {:#x}", region.size(), region.start));
    return {};
}

/// Where pages of the image go: regions of this part that have contents of their own, ascending by final address.
std::vector<const Region *> targets(const plan::AddressSpace &space, Part part) {
    std::vector<const Region *> found;
    for (const Region &region : space.regions)
        if (region.holds_pages() && part_of(region) == part)
            found.push_back(&region);
    return found;
}

/// Pages that the parent had here and the task does not: back to zero, or to the file.
void forget_others_pages(const plan::TaskImage &parent, const plan::TaskImage &task, const Region &region) {
    std::vector<std::pair<uint64_t, uint64_t>> mine;
    for (const img::pagemap_entry &run : task.pagemap.entries)
        mine.emplace_back(run.vaddr(), run.vaddr() + image::pages_of(run) * base::kPageSize);
    auto drop = [&](uint64_t from, uint64_t to) {
        if (from < to)
            madvise(pointer(region.at + (from - region.start)), to - from, MADV_DONTNEED);
    };
    for (const img::pagemap_entry &run : parent.pagemap.entries) {
        uint64_t at = std::max(run.vaddr(), region.start);
        const uint64_t end = std::min(run.vaddr() + image::pages_of(run) * base::kPageSize, region.end);
        auto own = std::partition_point(mine.begin(), mine.end(), [&](auto &range) { return range.second <= at; });
        for (; at < end; ++own) {
            if (own == mine.end() || own->first >= end) {
                drop(at, end);
                break;
            }
            drop(at, own->first);
            at = std::max(at, own->second);
        }
    }
}

} // namespace

Result<void> restore_memory(RestoreContext &context, const plan::Node &node, Part part, MemoryCounters &counters) {
    const plan::TaskImage &task = context.task(node);
    const plan::AddressSpace &space = context.space(node);
    for (const Region &region : space.regions)
        if (part_of(region) == part && !region.inherited)
            TRY(map_region(context, region));
    // What the parent has mapped has the protection that its own contents needed.
    for (const Region &region : space.regions)
        if (part_of(region) == part && region.inherited &&
            mprotect(pointer(region.at), region.size(), static_cast<int>(region.prot)) < 0)
            return base::fail_sys("protect inherited memory");
    if (node.parent >= 0) {
        const plan::Node *above = &context.topology.nodes[static_cast<size_t>(node.parent)];
        for (const Region &region : space.regions)
            if (part_of(region) == part && region.inherited && above->task >= 0)
                forget_others_pages(context.task(*above), task, region);
    }
    return read_pages(context.checkpoint.images, task, targets(space, part), counters);
}

Result<void> create_shared_memory(RestoreContext &context) {
    std::map<uint64_t, uint64_t> sizes; // id -> bytes
    for (const plan::AddressSpace &space : context.spaces)
        for (const Region &region : space.regions)
            if (region.kind == Region::Kind::SharedAnonymous)
                sizes[region.object] = std::max(sizes[region.object], region.pgoff + region.size());
    for (auto [id, size] : sizes) {
        // A mapping of anonymous shared memory, and a descriptor of the file behind it: the tasks' own mappings are
        // then of the same kind ("/dev/zero (deleted)"), whatever their offset.
        void *at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED)
            return base::fail_sys(fmt::format("map {} bytes of shared memory", size));
        TRY(fill_shared(context.checkpoint.images, id, static_cast<std::byte *>(at), size));
        const auto start = reinterpret_cast<uint64_t>(at);
        base::UniqueFd fd(
            open(fmt::format("/proc/self/map_files/{:x}-{:x}", start, start + size).c_str(), O_RDWR | O_CLOEXEC));
        if (!fd)
            return base::fail_sys("open shared memory (needs CAP_CHECKPOINT_RESTORE)");
        int number = fcntl(fd.get(), F_DUPFD_CLOEXEC, context.stash_base);
        if (number < 0)
            return base::fail_sys("keep a descriptor of shared memory");
        munmap(at, size);
        context.shared_memory[id] = number;
    }
    return {};
}

} // namespace restore
