#include "criu/engine/restore/memory_checks.hh"

#include <algorithm>
#include <fmt/format.h>

namespace restore {
namespace {

/// Whether every page of a run comes later. `regions` ascend.
bool all_can_wait(const std::vector<plan::Region> &regions, const pages::Run &run) {
    uint64_t at = run.start;
    for (const plan::Region &region : regions)
        if (region.start <= at && at < region.end && region.can_wait())
            at = region.end;
    return at >= run.end;
}

Result<void> check_remote(const plan::TaskImage &task, const plan::AddressSpace &space, bool lazily) {
    for (const pages::Run &run : task.pages.runs) {
        if (!run.remote)
            continue;
        base::Error error(base::ErrorKind::BadImage, fmt::format("pagemap-{}.img: the pages at {:#x} have stayed with "
                                                                 "the dump (--lazy-pages)",
                                                                 task.pid, run.start));
        if (!lazily)
            return base::fail(std::move(error.hint("start criu lazy-pages --page-server --address A --port N in the "
                                                   "work folder, and restore with --lazy-pages")));
        if (!all_can_wait(space.regions, run))
            return base::fail(std::move(error.ctx("memory of a kind that has to be there at once")));
    }
    return {};
}

/// The mappings of a task, neighbours joined, in ascending order.
std::vector<std::pair<uint64_t, uint64_t>> mapped_ranges(const plan::TaskImage &task) {
    std::vector<std::pair<uint64_t, uint64_t>> ranges;
    for (const img::vma_entry &vma : task.mm.vmas())
        ranges.emplace_back(vma.start(), vma.end());
    std::ranges::sort(ranges);
    size_t last = 0;
    for (size_t i = 1; i < ranges.size(); i++)
        if (ranges[i].first <= ranges[last].second)
            ranges[last].second = std::max(ranges[last].second, ranges[i].second);
        else
            ranges[++last] = ranges[i];
    ranges.resize(std::min(ranges.size(), last + 1));
    return ranges;
}

/// Pages that belong to no mapping would be left out without a word.
Result<void> check_runs_are_mapped(const plan::TaskImage &task) {
    const auto ranges = mapped_ranges(task);
    auto range = ranges.begin();
    for (const pages::Run &run : task.pages.runs) {
        while (range != ranges.end() && range->second <= run.start)
            ++range;
        if (range == ranges.end() || run.start < range->first || run.end > range->second)
            return base::bad_image(fmt::format("pagemap-{}.img: the pages from {:#x} to {:#x} lie outside of all "
                                               "mappings of mm-{}.img",
                                               task.pid, run.start, run.end, task.pid));
    }
    return {};
}

} // namespace

// A dump writes a pagemap for every task that lives, also where it says that there are no pages.
Result<void> check_memory(const plan::Checkpoint &checkpoint, const std::vector<plan::AddressSpace> &spaces,
                          bool lazily) {
    for (size_t i = 0; i < checkpoint.tasks.size(); i++) {
        const plan::TaskImage &task = checkpoint.tasks[i];
        if (task.dead() || task.memory_of)
            continue;
        if (!checkpoint.images().exists(image::ImageKind::Pagemap, task.pid))
            return base::fail(base::Error(base::ErrorKind::BadImage, fmt::format("pagemap-{}.img is missing", task.pid))
                                  .hint("if the dump was made with --page-server, copy pagemap-*.img and pages-*.img "
                                        "from the page server's folder into this one"));
        TRY(check_runs_are_mapped(task));
        TRY(check_remote(task, spaces[i], lazily));
    }
    return {};
}

} // namespace restore
