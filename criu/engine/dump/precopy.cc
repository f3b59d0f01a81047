#include "criu/engine/dump/precopy.hh"

#include "base/clock.hh"
#include "criu/engine/dump/agent_visit.hh"
#include "criu/engine/dump/collect.hh"
#include "criu/engine/dump/snapshot_choice.hh"
#include "criu/engine/dump/stop_tree.hh"
#include "criu/engine/dump/tracer_process.hh"
#include "criu/kernel/interruption.hh"

#include <algorithm>
#include <fmt/format.h>

namespace dump {
namespace {

constexpr int kMostRounds = 5;
constexpr uint64_t kFewPages = (16u << 20) / base::kPageSize; // read in the stop in less time than a round costs
constexpr uint64_t kSmallTask = 2u << 20;

/// Whether another round will leave less to the stop.
bool is_worth_another(uint64_t copied, uint64_t written) {
    return written > kFewPages && written < copied - copied / 4;
}

/// As they are in the image, without who has them.
std::vector<PageRun> joined(const std::vector<PageRun> &runs) {
    std::vector<PageRun> whole;
    for (PageRun run : runs) {
        run.in_parent = false;
        if (!whole.empty() && whole.back().extent.end() == run.extent.start && whole.back().lazy == run.lazy &&
            whole.back().huge == run.huge && whole.back().readable == run.readable)
            whole.back().extent.pages += run.extent.pages;
        else
            whole.push_back(run);
    }
    return whole;
}

} // namespace

int Precopy::folder() const {
    return request_.stream ? request_.work_dir_fd : request_.images_dir_fd; // a stream's folder is memory
}

Result<Precopy::Copy *> Precopy::copy_of(const tree::TaskFacts &task) {
    const tracking::Identity who = tracking::identity_of(task);
    const auto known = std::ranges::find(copies_, who, &Copy::who);
    if (known != copies_.end())
        return &*known;
    copies_.push_back({who, TRY(CopiedMemory::open(folder()))});
    return &copies_.back();
}

/// The task is stopped.
Result<void> Precopy::take_notes(const tree::TaskFacts &task) {
    auto scanner = TRY(pages::PageScanner::open(task.voice));
    AgentVisit visit(task);
    TRY(increments_.arm(task, scanner, [&] { return visit.enter(); }));
    TRY(visit.leave());
    const auto written = TRY(scanner.take_written(0, base::kUserEnd));
    if (!increments_.notes_writes_of(task))
        return {};
    TRY(copy_of(task))->memory.forget(increments_.watched(task), written);
    return {};
}

/// False if the tree cannot be stopped for it.
Result<bool> Precopy::begin_round(bool guarded, resource::TimedPolls &polls,
                                  std::optional<kernel::FreezerGroup> &group) {
    group.reset(); // of the round before: it must not end behind the next one's beginning
    auto tree = TRY(stop_tree(request_, guarded, polls, group));
    const uint64_t stopped_at = base::now_us();
    if (!guarded && needs_living_tracer(tree)) {
        log_.warn("snapshot: a task is sandboxed or stopped since the dump began: no memory is copied ahead");
        TRY(tree.thaw());
        return false;
    }
    tasks_ = TRY(collect(tree, Depth::Memory));
    polls.settle(tasks_);
    increments_.prune(tasks_);
    for (const tree::TaskFacts &task : tasks_)
        if (!task.zombie && !task.memory_of.value && resident(task) >= kSmallTask)
            TRY_CTX(take_notes(task), name_of(task));
    TRY(polls.limit(tasks_));
    TRY(tree.thaw());
    log_.debug(fmt::format("snapshot: the tree stood {} us for a round", base::now_us() - stopped_at));
    return true;
}

/// While the tree runs.
Result<Precopy::Count> Precopy::copy_round() {
    Count count;
    for (Copy &copy : copies_) {
        const auto task =
            std::ranges::find(tasks_, copy.who, [](const tree::TaskFacts &t) { return tracking::identity_of(t); });
        auto scanner =
            task == tasks_.end() ? base::fail_sys(ESRCH, "look at a task") : pages::PageScanner::open(task->voice);
        if (!scanner)
            continue; // it has ended
        std::vector<resource::MappingClass> classes;
        for (const parse::Vma &vma : task->vmas)
            classes.push_back(class_saved_ahead(vma));
        const PageRuns runs = TRY(scan_pages(*task, classes, *scanner));
        count.copied += TRY_CTX(copy.memory.copy(task->voice, runs.data, request_.progress), name_of(*task));
        count.written += pages::pages_in(TRY(scanner->written(0, base::kUserEnd)));
    }
    return count;
}

Result<void> Precopy::run(bool guarded, resource::TimedPolls &polls, std::optional<kernel::FreezerGroup> &group) {
    if (auto noted = increments_.note_for_snapshot(); !noted) {
        log_.warn(fmt::format("snapshot: {}: no memory is copied ahead", noted.error().message()));
        return {};
    }
    for (int round = 1; round <= kMostRounds; round++) {
        if (!TRY(begin_round(guarded, polls, group)))
            break;
        engine::begin_round(request_.progress);
        const Count count = TRY(copy_round());
        if (request_.progress)
            request_.progress->written = count.written * base::kPageSize;
        constexpr uint64_t kPagesOfMiB = (1u << 20) / base::kPageSize;
        log_.info(fmt::format("snapshot: round {}: {} MiB copied while the tree runs, {} MiB written meanwhile", round,
                              count.copied / kPagesOfMiB, count.written / kPagesOfMiB));
        if (!is_worth_another(count.copied, count.written))
            break;
    }
    if (copies_.empty())
        log_.warn("snapshot: writes to no task can be noted: no memory is copied ahead");
    tasks_.clear();
    group.reset();
    return {};
}

std::optional<CopiedMemory> Precopy::take(const tree::TaskFacts &task) {
    const auto found = std::ranges::find(copies_, tracking::identity_of(task), &Copy::who);
    if (found == copies_.end())
        return std::nullopt;
    CopiedMemory memory = std::move(found->memory);
    copies_.erase(found);
    return memory;
}

Result<void> PrecopiedTask::write(MemoryDumpContext &context) {
    const std::vector<PageRun> parts = std::exchange(runs_.data, joined(runs_.data));
    const auto output = TRY(dump_pagemap(context, *task_, runs_));
    std::vector<std::byte> buffer;
    uint64_t offset = 0, late = 0;
    auto part = parts.begin();
    for (const PageRun &run : runs_.data) {
        if (!output->has_file())
            TRY(output->add(entry_of(run), run.huge ? pages::PageKind::Huge : pages::PageKind::Small));
        for (; part != parts.end() && part->extent.start < run.extent.end(); ++part) {
            const uint64_t bytes = part->extent.pages * base::kPageSize;
            if (part->in_parent)
                TRY(memory_.move_to(*output, offset, part->extent));
            else
                TRY(move_file_pages(late_.get(), late, bytes, *output, offset, buffer));
            late += part->in_parent ? 0 : bytes, offset += bytes;
            engine::count_bytes(context.progress, bytes);
        }
    }
    return output->close();
}

} // namespace dump
