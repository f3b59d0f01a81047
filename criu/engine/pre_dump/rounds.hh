// One task in a pre-dump: what is done while it stands, and what while it runs.
#pragma once

#include "criu/engine/dump/increments.hh"

namespace pre_dump {

using base::Result;

class Round {
public:
    /// `task` has to outlive it.
    static Result<Round> open(const tree::TaskFacts &task);

    /// While the task stands: has the kernel note its writes.
    Result<void> arm(dump::Increments &increments);
    /// While it runs: finds its pages and copies them.
    Result<void> save(dump::Increments &increments, dump::MemoryDumpContext &context,
                      engine::PreDumpRequest::Mode mode);

private:
    Round(const tree::TaskFacts &task, pages::PageScanner scanner) : task_(&task), scanner_(std::move(scanner)) {}
    Result<void> save_shared(dump::MemoryDumpContext &context) const;
    Result<void> save_to_file(pages::MemoryOutput &output, engine::PreDumpRequest::Mode mode,
                              engine::Progress *progress);
    Result<void> send(pages::MemoryOutput &output, engine::PreDumpRequest::Mode mode, engine::Progress *progress);
    Result<void> scan();
    Result<void> choose(dump::Increments &increments);

    const tree::TaskFacts *task_;
    pages::PageScanner scanner_;
    std::vector<resource::MappingClass> classes_;
    dump::PageRuns runs_;
    bool scanned_ = false;
};

} // namespace pre_dump
