#include "criu/engine/dump/memory.hh"

#include "criu/engine/dump/mapped_objects.hh"
#include "criu/engine/dump/page_writer.hh"
#include "criu/pages/scan.hh"
#include "criu/resource/mm/sysv_segment.hh"
#include "criu/resource/mm/vma_status.hh"

#include <algorithm>
#include <elf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace dump {
namespace {

using resource::mapping_kind;
using resource::MappingClass;
using resource::OwnPages;

/// The file behind a mapping; cheap for the hundreds of mappings of libraries that all tasks share.
Result<uint32_t> file_of(MemoryDumpContext &context, const tree::TaskFacts &task, const parse::Vma &vma,
                         uint32_t open_flags) {
    const MemoryDumpContext::FileKey key{vma.dev_major, vma.dev_minor, vma.inode, open_flags};
    if (auto known = context.mapped_files.find(key); known != context.mapped_files.end())
        return known->second;
    const uint32_t id = TRY(add_mapped_file(context, task, vma, static_cast<int>(open_flags))).value;
    context.mapped_files.emplace(key, id);
    return id;
}

/// Contents of shared anonymous memory, once for all tasks that map it: read through a descriptor of its file.
Result<void> dump_shared_memory(MemoryDumpContext &context, const tree::TaskFacts &task, const parse::Vma &vma) {
    if (!context.shared_done.insert(vma.inode).second)
        return {};
    const base::UniqueFd fd = TRY(open_shared(context, task, vma));
    return write_file_pages(context, image::ImageKind::ShmemPagemap, vma.inode, fd.get(),
                            vma.pgoff + (vma.end - vma.start));
}

/// A mapping of a socket cannot be opened.
Result<uint32_t> file_of_ring(const MemoryDumpContext &context, const parse::Vma &vma) {
    const auto file = context.files->find_open(makedev(vma.dev_major, vma.dev_minor), vma.inode);
    if (!file)
        return base::unsupported(
            fmt::format("the ring of socket:[{}] is mapped, but the socket is not open", vma.inode));
    return file->value;
}

/// Queues of io_uring that are mapped twice become shared memory. The larger mapping shows all of it.
Result<void> dump_queues(MemoryDumpContext &context, const tree::TaskFacts &task, const parse::Vma &vma) {
    const uint64_t id = resource::shared_id_of_queues(vma);
    if (!context.shared_done.insert(id).second)
        return {};
    const parse::Vma *largest = &vma;
    for (const parse::Vma &other : task.vmas)
        if (other.name == vma.name && other.inode == vma.inode && other.pgoff != IORING_OFF_SQES &&
            other.size() > largest->size())
            largest = &other;
    std::string queues(largest->size(), '\0');
    TRY(TRY(compel::RemoteMemory::open(task.voice)).read(largest->start, std::as_writable_bytes(std::span(queues))));
    base::UniqueFd copy(memfd_create("queues of io_uring", MFD_CLOEXEC));
    if (!copy || write(copy.get(), queues.data(), queues.size()) != static_cast<ssize_t>(queues.size()))
        return base::fail_sys("copy the queues of io_uring");
    return write_file_pages(context, image::ImageKind::ShmemPagemap, id, copy.get(), queues.size());
}

/// A System V segment, once for all tasks. Its contents share the numbers of anonymous memory, as in CRIU's images.
Result<void> dump_segment(MemoryDumpContext &context, const tree::TaskFacts &task, const parse::Vma &vma) {
    const tree::Namespace *home = context.namespaces.find(tree::NamespaceKind::Ipc, task.ns[tree::NamespaceKind::Ipc]);
    if (home && home->id != context.namespaces.root_id(home->kind)) // saved with the namespace
        return resource::check_segment(vma, *home);
    if (context.shared_done.contains(vma.inode) && !context.segments_done.contains(vma.inode))
        return base::unsupported("its id is the number of other shared memory of the tree");
    if (!context.segments_done.insert(vma.inode).second)
        return {};
    if (context.namespaces.root_has_own(tree::NamespaceKind::Ipc)) // saved with the namespace
        return {};
    auto entry = TRY(resource::describe_segment(vma));
    TRY(context.images.add(image::ImageKind::IpcnsShm,
                           context.namespaces.id_of(tree::NamespaceKind::Ipc, task.ns[tree::NamespaceKind::Ipc]),
                           entry));
    return dump_shared_memory(context, task, vma);
}

/// What the mapping shows and does not hold: once for all who map it.
Result<void> dump_object(MemoryDumpContext &context, const tree::TaskFacts &task, const parse::Vma &vma,
                         MappingClass kind) {
    switch (kind) {
    case MappingClass::IoUringTwice:
        return dump_queues(context, task, vma);
    case MappingClass::SysvSegment:
    case MappingClass::CopyOfSegment:
        return dump_segment(context, task, vma);
    case MappingClass::SharedAnonymous:
    case MappingClass::CopyOfShared:
        if (context.segments_done.contains(vma.inode))
            return base::unsupported("its number is the id of a System V segment of the tree");
        return dump_shared_memory(context, task, vma);
    default:
        return {};
    }
}

Result<void> check_open(const MemoryDumpContext &context, const parse::Vma &vma, MappingClass kind) {
    const bool secret = vma.name.starts_with("/secretmem");
    if (!(secret || mapping_kind(kind).of_kernel) ||
        context.files->find_open(makedev(vma.dev_major, vma.dev_minor), vma.inode))
        return {};
    return base::unsupported(secret ? "secret memory (memfd_secret) whose descriptor was closed"
                                    : "an io_uring instance whose descriptor was closed");
}

Result<void> add_mapping(MemoryDumpContext &context, const tree::TaskFacts &task, const parse::Vma &vma,
                         MappingClass kind, const MmAnswers &answers, img::mm_entry &mm) {
    img::vma_entry entry = resource::describe(vma, kind);
    if (auto policy = answers.policies.find(vma.start); policy != answers.policies.end()) {
        entry.mutable_ext()->set_numa_mode(policy->second.mode);
        entry.mutable_ext()->set_numa_nodes(policy->second.nodes);
    }
    TRY(check_open(context, vma, kind));
    if (mapping_kind(kind).object == resource::ObjectId::File)
        entry.set_shmid(kind == MappingClass::SocketRing ? TRY(file_of_ring(context, vma))
                                                         : TRY(file_of(context, task, vma, entry.fdflags())));
    TRY(dump_object(context, task, vma, kind));
    // Newer kernels split the vvar area in two; images have one, as CRIU writes it.
    if (kind == MappingClass::Vvar && mm.vmas_size()) {
        img::vma_entry *last = mm.mutable_vmas(mm.vmas_size() - 1);
        if ((last->status() & resource::kVmaVvar) && last->end() == entry.start()) {
            last->set_end(entry.end());
            return {};
        }
    }
    *mm.add_vmas() = std::move(entry);
    return {};
}

void write_fields(const tree::TaskFacts &task, const MmAnswers &answers, img::mm_entry &mm) {
    const parse::Stat &stat = task.stat;
    mm.set_mm_start_code(stat.start_code);
    mm.set_mm_end_code(stat.end_code);
    mm.set_mm_start_data(stat.start_data);
    mm.set_mm_end_data(stat.end_data);
    mm.set_mm_start_stack(stat.start_stack);
    mm.set_mm_start_brk(stat.start_brk);
    mm.set_mm_brk(answers.brk);
    mm.set_mm_arg_start(stat.arg_start);
    mm.set_mm_arg_end(stat.arg_end);
    mm.set_mm_env_start(stat.env_start);
    mm.set_mm_env_end(stat.env_end);
    // Without the pair of zeroes at the end: with it there is more than CRIU has room for (44 words). The kernel ends
    // the vector by itself.
    for (size_t i = 0; i + 1 < task.auxv.size() && task.auxv[i] != AT_NULL; i += 2)
        for (uint64_t word : {task.auxv[i], task.auxv[i + 1]})
            mm.add_mm_saved_auxv(word);
    mm.set_dumpable(answers.dumpable);
    mm.set_thp_disabled(answers.thp_disabled);
    if (answers.pkeys && *answers.pkeys > 1)
        mm.mutable_ext()->set_pkeys(*answers.pkeys);
    if (answers.locks_future || answers.locks_future_on_fault)
        mm.mutable_ext()->set_mcl_flags(MCL_FUTURE | (answers.locks_future_on_fault ? MCL_ONFAULT : 0));
}

/// Guards are recorded as mappings of their own kind, behind the ones that they lie in.
void add_guards(const std::vector<pages::Extent> &guards, img::mm_entry &mm) {
    for (const pages::Extent &guard : guards) {
        img::vma_entry *entry = mm.add_vmas();
        entry->set_start(guard.start);
        entry->set_end(guard.end());
        entry->set_pgoff(0), entry->set_shmid(0), entry->set_prot(0), entry->set_fd(-1);
        entry->set_flags(MAP_PRIVATE | MAP_ANONYMOUS);
        entry->set_status(resource::kVmaGuard);
    }
}

/// The request count with which io_setup() makes a ring of the same size.
Result<void> add_ring(const compel::RemoteMemory &memory, const parse::Vma &vma, img::mm_entry &mm) {
    constexpr uint64_t kCountField = 4;
    const uint32_t events = TRY(memory.read_value(base::RemotePtr<uint32_t>(vma.start + kCountField)));
    img::aio_ring_entry *ring = mm.add_aios();
    ring->set_id(vma.start);
    ring->set_nr_req(events > 2 ? (events - 2) / 2 : 1); // the kernel doubles it and adds two
    ring->set_ring_len(static_cast<uint32_t>(vma.size()));
    return {};
}

/// Consecutive mappings that one scan can take together.
bool same_run(const parse::Vma &a, MappingClass ka, const parse::Vma &b, MappingClass kb) {
    return ka == kb && ka == MappingClass::PrivateAnonymous && a.end == b.start &&
           a.flags.has(parse::VmFlag::Dp) == b.flags.has(parse::VmFlag::Dp);
}

/// What pages of a mapping are like, to be handled in one run.
struct PageTraits {
    bool readable, huge, lazy;
    bool operator==(const PageTraits &) const = default;
};

/// CRIU marks the pages that userfaultfd can bring: plain private memory that need not be there at once. The rings of
/// io_uring are that in an image (describe()).
PageTraits traits_of(const parse::Vma &vma, MappingClass kind) {
    using parse::VmFlag;
    const bool lazy = mapping_kind(kind).lazy && !vma.flags.has(VmFlag::Lo) && !vma.flags.has(VmFlag::Ht) &&
                      !vma.flags.has(VmFlag::Dp);
    return {static_cast<bool>(vma.prot & PROT_READ), vma.flags.has(VmFlag::Ht), lazy};
}

/// Cuts extents where mappings of different traits meet. `vmas`, all of one kind, cover them.
void add_runs(std::span<const parse::Vma> vmas, MappingClass kind, const std::vector<pages::Extent> &extents,
              std::vector<PageRun> &runs) {
    auto vma = vmas.begin();
    for (const pages::Extent &extent : extents)
        for (uint64_t at = extent.start; at < extent.end();) {
            while (vma->end <= at)
                ++vma;
            const PageTraits traits = traits_of(*vma, kind);
            uint64_t end = std::min(vma->end, extent.end());
            while (end < extent.end() && traits_of(*(vma + 1), kind) == traits)
                end = std::min((++vma)->end, extent.end());
            runs.push_back(
                {{at, (end - at) / base::kPageSize}, traits.readable, traits.lazy, false, false, traits.huge});
            at = end;
        }
}

} // namespace

Result<std::vector<MappingClass>> classify_all(const tree::TaskFacts &task) {
    std::vector<MappingClass> classes;
    classes.reserve(task.vmas.size());
    for (const parse::Vma &vma : task.vmas)
        classes.push_back(TRY(resource::classify(vma)));
    // Programs that do not count on IORING_FEAT_SINGLE_MMAP map the queues twice.
    for (const parse::Vma &vma : task.vmas) {
        if (vma.name != "anon_inode:[io_uring]" || vma.pgoff != IORING_OFF_CQ_RING)
            continue;
        for (size_t i = 0; i < classes.size(); i++)
            if (const parse::Vma &other = task.vmas[i];
                classes[i] == MappingClass::IoUring && other.inode == vma.inode && other.pgoff != IORING_OFF_SQES)
                classes[i] = MappingClass::IoUringTwice;
    }
    return classes;
}

bool PageRuns::stores_any() const {
    return std::ranges::any_of(data, &PageRun::is_stored);
}

std::vector<PageRun> without_parents_pages(const std::vector<PageRun> &runs,
                                           const std::vector<pages::Extent> &unchanged,
                                           const std::vector<pages::Extent> &covered) {
    const std::vector<pages::Extent> known = pages::intersect(unchanged, covered);
    std::vector<PageRun> out;
    auto add = [&](const PageRun &like, uint64_t from, uint64_t to, bool in_parent) {
        if (from < to)
            out.push_back({pages::extent_of(from, to), like.readable, like.lazy, in_parent, false, like.huge});
    };
    auto next = known.begin();
    for (const PageRun &run : runs) {
        uint64_t at = run.extent.start;
        for (; next != known.end() && next->end() <= at; ++next) {
        }
        for (auto hole = next; hole != known.end() && hole->start < run.extent.end(); ++hole) {
            const uint64_t from = std::max(at, hole->start), to = std::min(run.extent.end(), hole->end());
            add(run, at, from, false);
            add(run, from, to, true);
            at = to;
        }
        add(run, at, run.extent.end(), false);
    }
    return out;
}

Result<PageRuns> scan_pages(const tree::TaskFacts &task, const std::vector<MappingClass> &classes,
                            pages::PageScanner &scanner, const std::vector<bool> *only) {
    PageRuns runs;
    pages::ScanResult found;
    for (size_t i = 0; i < task.vmas.size();) {
        const parse::Vma &first = task.vmas[i];
        MappingClass kind = classes[i];
        size_t last = i;
        while (last + 1 < task.vmas.size() && (!only || (*only)[last + 1] == (*only)[i]) &&
               same_run(task.vmas[last], classes[last], task.vmas[last + 1], classes[last + 1]))
            last++;
        const uint64_t end = task.vmas[last].end;
        const bool wanted = !only || (*only)[i];
        i = last + 1;
        // What may be lost at any time is lost in a checkpoint: two clones must not share the random state in it.
        if (!wanted || mapping_kind(kind).pages == OwnPages::None || (kind == MappingClass::Memfd && first.shared) ||
            first.flags.has(parse::VmFlag::Dp))
            continue;
        runs.scanned += (end - first.start) / base::kPageSize;
        found.data.clear();
        if (mapping_kind(kind).pages == OwnPages::Whole)
            found.data.push_back({first.start, (end - first.start) / base::kPageSize});
        else
            TRY(scanner.scan(first.start, end,
                             mapping_kind(kind).anonymous ? pages::Mapping::Anonymous : pages::Mapping::PrivateFile,
                             found));
        add_runs(std::span(task.vmas).subspan(static_cast<size_t>(&first - task.vmas.data()),
                                              i - static_cast<size_t>(&first - task.vmas.data())),
                 kind, found.data, runs.data);
    }
    runs.guards = std::move(found.guards);
    runs.clean = std::move(found.clean);
    return runs;
}

Result<img::mm_entry> dump_mappings(MemoryDumpContext &context, const tree::TaskFacts &task,
                                    const std::vector<MappingClass> &classes, const MmAnswers &answers,
                                    const compel::RemoteMemory &memory) {
    img::mm_entry mm;
    write_fields(task, answers, mm);
    mm.set_exe_file_id(
        TRY(context.files->add_path(task, fmt::format("/proc/{}/exe", task.voice.value), O_RDONLY)).value);
    for (size_t i = 0; i < task.vmas.size(); i++)
        TRY_CTX(add_mapping(context, task, task.vmas[i], classes[i], answers, mm),
                fmt::format("mapping {:#x} {}", task.vmas[i].start, task.vmas[i].name));
    for (size_t i = 0; i < task.vmas.size(); i++)
        if (classes[i] == MappingClass::AioRing)
            TRY(add_ring(memory, task.vmas[i], mm));
    return mm;
}

Result<void> write_mm(image::ImageDirWriter &images, const tree::TaskFacts &task, img::mm_entry &mm,
                      const std::vector<pages::Extent> &guards) {
    add_guards(guards, mm);
    TRY(images.add(image::ImageKind::Mm, static_cast<uint64_t>(task.vpid.value), mm));
    return images.close_file(image::ImageKind::Mm, static_cast<uint64_t>(task.vpid.value));
}

img::pagemap_entry entry_of(const PageRun &run) {
    auto entry = image::present_run(run.extent.start, run.extent.pages);
    if (run.in_parent)
        entry.set_flags(image::kPeParent);
    else if (run.lazy)
        entry.set_flags(run.left ? image::kPeLazy : entry.flags() | image::kPeLazy);
    return entry;
}

Result<std::unique_ptr<pages::MemoryOutput>> dump_pagemap(MemoryDumpContext &context, const tree::TaskFacts &task,
                                                          PageRuns &runs) {
    context.statistics.pages_scanned += runs.scanned;
    auto output = TRY(context.sink.open(image::ImageKind::Pagemap, static_cast<uint64_t>(task.vpid.value)));
    for (PageRun &run : runs.data) {
        if (output->has_parent() == false)
            run.in_parent = false;
        (run.in_parent ? context.statistics.pages_in_parent
         : run.left    ? context.statistics.pages_lazy
                       : context.statistics.pages_written) += run.extent.pages;
        if (run.is_stored())
            engine::expect_bytes(context.progress, run.extent.pages * base::kPageSize);
        if (output->has_file())
            TRY(output->add(entry_of(run)));
    }
    return output;
}

} // namespace dump
