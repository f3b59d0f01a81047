// The memory of one task: its mappings (mm-N.img) and the contents that only it has (pagemap-N.img, pages-N.img).
#pragma once

#include "compel/injection.hh"
#include "criu/engine/dump/files.hh"
#include "criu/engine/progress.hh"
#include "criu/image/image_writer.hh"
#include "criu/image/pagemap.hh"
#include "criu/pages/scan.hh"
#include "criu/pages/sink.hh"
#include "criu/resource/mm/mapping.hh"
#include "criu/resource/mm/numa_policy.hh"
#include "criu/tree/facts.hh"
#include "mm.pb.h"

#include <map>
#include <set>
#include <tuple>

namespace dump {

struct MemoryStatistics {
    uint64_t pages_scanned = 0, pages_written = 0, pages_in_parent = 0, pages_lazy = 0;
    uint64_t shmem_pages_scanned = 0, shmem_pages_written = 0, shmem_pages_in_parent = 0;
    uint64_t scan_us = 0, write_us = 0;
};

class Increments; // increments.hh
class LeftMemory; // left_memory.hh
class Precopy;    // precopy.hh
class Snapshot;   // snapshot.hh

/// What a dump of memory shares between tasks.
struct MemoryDumpContext {
    image::ImageDirWriter &images;
    pages::PageSink &sink; ///< takes pagemaps and pages
    FileTable *files;      ///< null in a pre-dump, which saves no files
    const tree::Namespaces &namespaces;
    std::span<const tree::TaskFacts> tasks;                             ///< the whole tree
    using FileKey = std::tuple<uint32_t, uint32_t, uint64_t, uint32_t>; ///< device, inode, mode of opening
    std::map<FileKey, uint32_t> mapped_files;                           ///< ids of files that mappings have brought in
    std::set<uint64_t> shared_done;   ///< inodes of shared anonymous memory already written
    std::set<uint64_t> segments_done; ///< ids of System V segments already written
    LeftMemory *left = nullptr;       ///< takes what may come later (--lazy-pages)
    Snapshot *snapshot = nullptr;     ///< takes memory that is written later
    Precopy *ahead = nullptr;         ///< has what was copied before the stop
    Increments *increments = nullptr; ///< what an incremental dump knows; null for none
    bool agent_may_write = true;      ///< false: the task's memory is charged to another cgroup than ours
    MemoryStatistics statistics;
    engine::Progress *progress = nullptr;
};

/// What the task answered about its address space.
struct MmAnswers {
    uint64_t brk = 0;
    int32_t dumpable = 0;
    bool thp_disabled = false;
    uint32_t thp_flags = 0;
    bool locks_future = false; ///< mlockall(MCL_FUTURE)
    bool locks_future_on_fault = false;
    std::map<uint64_t, resource::NumaPolicy> policies; ///< of single mappings, by their start
    std::optional<uint32_t> pkeys; ///< allocated protection keys, a bit each; nothing where it could not be found out
};

/// Classes of all mappings. Errors: Unsupported, naming the first that cannot be saved.
Result<std::vector<resource::MappingClass>> classify_all(const tree::TaskFacts &task);

/// Pages whose contents go into the image, one after the other.
struct PageRun {
    pages::Extent extent;
    bool readable = true;   ///< by the task itself
    bool lazy = false;      ///< may come later: CRIU's `restore --lazy-pages` leaves it to its daemon
    bool in_parent = false; ///< not written again: the same is in the images that these build on
    bool left = false;      ///< lazy, and stays in the task until it is asked for
    bool huge = false;      ///< of hugetlbfs

    bool is_stored() const { return !in_parent && !left; }
};

struct PageRuns {
    std::vector<PageRun> data;         ///< ascending
    std::vector<pages::Extent> guards; ///< MADV_GUARD_INSTALL
    std::vector<pages::Extent> clean;  ///< of data: what the kernel has noted no writes to; ascending
    uint64_t scanned = 0;

    bool stores_any() const; ///< whether something is to be written
};

/// Looks through the page tables of the task; `scanner` is its own, or that of a copy of it. `only`: null, or which
/// mappings are looked at, by their index.
Result<PageRuns> scan_pages(const tree::TaskFacts &task, const std::vector<resource::MappingClass> &classes,
                            pages::PageScanner &scanner, const std::vector<bool> *only = nullptr);

/// Marks what is in `unchanged` and, in the images before, in `covered`, as to be found there. Pure.
std::vector<PageRun> without_parents_pages(const std::vector<PageRun> &runs,
                                           const std::vector<pages::Extent> &unchanged,
                                           const std::vector<pages::Extent> &covered);

/// What mm-N.img says, but for guards. Writes pagemap-shmem-N.img for shared memory seen for the first time.
Result<img::mm_entry> dump_mappings(MemoryDumpContext &context, const tree::TaskFacts &task,
                                    const std::vector<resource::MappingClass> &classes, const MmAnswers &answers,
                                    const compel::RemoteMemory &memory);
/// Writes mm-N.img.
Result<void> write_mm(image::ImageDirWriter &images, const tree::TaskFacts &task, img::mm_entry &mm,
                      const std::vector<pages::Extent> &guards);

/// The entry of a run.
img::pagemap_entry entry_of(const PageRun &run);

/// Begins the pagemap of a task. Where the pages go into a file, all runs are written here; otherwise each is sent with
/// its pages (page_writer.hh). What a page server cannot leave to a parent is marked as to be written in `runs`.
Result<std::unique_ptr<pages::MemoryOutput>> dump_pagemap(MemoryDumpContext &context, const tree::TaskFacts &task,
                                                          PageRuns &runs);

} // namespace dump
