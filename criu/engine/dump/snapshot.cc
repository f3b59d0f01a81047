#include "criu/engine/dump/snapshot.hh"

#include "criu/engine/dump/collect.hh"
#include "criu/engine/dump/snapshot_choice.hh"
#include "criu/kernel/interruption.hh"

#include <algorithm>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

namespace dump {
namespace {

using resource::MappingClass;

constexpr uint64_t kSmall = 2u << 20; // of one task: the same
constexpr size_t kPiece = 1u << 20;

/// Whether a twin has the pages of a mapping.
bool is_copied(const parse::Vma &vma, MappingClass kind) {
    using parse::VmFlag;
    return resource::mapping_kind(kind).plain && !vma.shared && !vma.flags.has(VmFlag::Dc) &&
           !vma.flags.has(VmFlag::Wf) && !vma.flags.has(VmFlag::Ht) && !vma.flags.has(VmFlag::Io) &&
           !vma.flags.has(VmFlag::Pf);
}

} // namespace

std::vector<bool> copied_by_fork(const tree::TaskFacts &task, const std::vector<MappingClass> &classes) {
    std::vector<bool> copied;
    for (size_t i = 0; i < task.vmas.size(); i++)
        copied.push_back(is_copied(task.vmas[i], classes[i]));
    return copied;
}

Result<void> TaskSnapshot::read_rest(const compel::RemoteMemory &memory) {
    const StoppedMemory stopped(task_->voice, memory);
    auto run = runs_.data.begin();
    for (size_t i = 0; i < task_->vmas.size(); i++) {
        const parse::Vma &vma = task_->vmas[i];
        for (; run != runs_.data.end() && run->extent.end() <= vma.start; ++run) {
        }
        if (is_copied(vma, classes_[i]))
            continue;
        for (auto part = run; part != runs_.data.end() && part->extent.start < vma.end; ++part) {
            const uint64_t from = std::max(vma.start, part->extent.start), to = std::min(vma.end, part->extent.end());
            if (!part->is_stored() || from >= to)
                continue;
            kept_.push_back({pages::extent_of(from, to), bytes_.size()});
            bytes_.resize(bytes_.size() + (to - from));
            TRY(stopped.read(from, std::span(bytes_).last(to - from)));
        }
    }
    return {};
}

Result<void> TaskSnapshot::read(uint64_t address, std::span<std::byte> into) const {
    auto kept = std::ranges::partition_point(kept_, [&](const Kept &k) { return k.extent.end() <= address; });
    for (const uint64_t end = address + into.size(); address < end;) {
        const bool here = kept != kept_.end() && kept->extent.start <= address;
        const uint64_t stop = here                                              ? std::min(end, kept->extent.end())
                              : kept != kept_.end() && kept->extent.start < end ? kept->extent.start
                                                                                : end;
        const auto part = into.first(stop - address);
        if (here)
            std::copy_n(bytes_.data() + kept->offset + (address - kept->extent.start), part.size(), part.begin());
        else
            TRY(twin_.read(address, part));
        if (here && stop == kept->extent.end())
            ++kept;
        into = into.subspan(part.size());
        address = stop;
    }
    return {};
}

/// In the page tables of the twin.
Result<void> TaskSnapshot::look() {
    const std::vector<bool> forked = copied_by_fork(*task_, classes_);
    auto scanner = TRY(pages::PageScanner::open(twin_.pid()));
    PageRuns found = TRY(scan_pages(*task_, classes_, scanner, &forked));
    runs_.scanned += found.scanned;
    std::ranges::copy(found.data, std::back_inserter(runs_.data));
    std::ranges::copy(found.guards, std::back_inserter(runs_.guards));
    std::ranges::sort(runs_.data, {}, [](const PageRun &run) { return run.extent.start; });
    std::ranges::sort(runs_.guards, {}, &pages::Extent::start);
    return {};
}

Result<void> TaskSnapshot::write(MemoryDumpContext &context) {
    if (looks_later_)
        TRY(look());
    TRY(write_mm(context.images, *task_, mm_, runs_.guards));
    const auto output = TRY(dump_pagemap(context, *task_, runs_));
    std::vector<std::byte> buffer(kPiece);
    uint64_t offset = 0;
    for (const PageRun &run : runs_.data) {
        if (!output->has_file())
            TRY(output->add(entry_of(run), run.huge ? pages::PageKind::Huge : pages::PageKind::Small));
        if (!run.is_stored())
            continue;
        for (uint64_t at = run.extent.start; at < run.extent.end();) {
            TRY(kernel::check_interrupted());
            const auto piece = std::span(buffer).first(std::min<uint64_t>(kPiece, run.extent.end() - at));
            TRY(read(at, piece));
            TRY(output->write(piece, offset));
            engine::count_bytes(context.progress, piece.size());
            at += piece.size(), offset += piece.size();
        }
    }
    return output->close();
}

std::unique_ptr<Snapshot> Snapshot::plan(const engine::DumpRequest &request, SnapshotWay way, bool copied_ahead,
                                         const std::vector<tree::TaskFacts> &tasks, base::Log &log) {
    if (way == SnapshotWay::Precopy && copied_ahead)
        return std::unique_ptr<Snapshot>(new Snapshot(log, false));
    const bool may_fork = way == SnapshotWay::Fork || request.snapshot == engine::SnapshotMethod::Auto;
    if (way == SnapshotWay::InStop || !may_fork)
        return nullptr;
    if (const std::string why = obstacle_to_twins(request, tasks); !why.empty()) {
        log.warn(fmt::format("snapshot: {}: the memory is written while the tree stands", why));
        return nullptr;
    }
    return std::unique_ptr<Snapshot>(new Snapshot(log, true));
}

Result<std::optional<MemoryTwin>> Snapshot::fork(const tree::TaskFacts &task, compel::Injection &agent) {
    if (!forks_ || resident(task) < kSmall)
        return std::nullopt;
    compel::Batch batch = agent.batch();
    const uint64_t answer = batch.out(4);
    batch.call(SYS_prctl, {PR_GET_CHILD_SUBREAPER, answer, 0, 0, 0});
    TRY(agent.run(batch));
    reaper_ |= batch.value<int32_t>(answer) != 0;
    if (reaper_) {
        log_->warn(fmt::format("snapshot: {} or one above it would adopt a copy (PR_SET_CHILD_SUBREAPER): its memory "
                               "is written while it stands",
                               name_of(task)));
        return std::nullopt;
    }
    auto twin = MemoryTwin::make(agent);
    if (!twin) {
        log_->warn(fmt::format("snapshot: {}: {}: its memory is written while it stands", name_of(task),
                               twin.error().message()));
        return std::nullopt;
    }
    return std::optional(std::move(*twin));
}

Result<void> Snapshot::write(MemoryDumpContext &context) {
    for (; !tasks_.empty(); tasks_.pop_front())
        TRY(tasks_.front()->write(context));
    return {};
}

} // namespace dump
