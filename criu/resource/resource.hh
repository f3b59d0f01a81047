// The verbs of a task resource: one kind of state that belongs to a thread or a process.
//
//     ask(Batch&, facts) -> Answer   which system calls must run inside the task; the Answer turns their results,
//     later,
//                                    into fields of the image
//     plan(plan, image)              image -> operations of the restore, each filed under a stage
//
// Both are pure. A resource is one file with both directions; the tables in task/table.cc list them all.
#pragma once

#include "compel/injection.hh"
#include "criu/plan/ops.hh"
#include "criu/tree/facts.hh"
#include "images_pb.hh"

#include <functional>

namespace resource {

using base::Result;
using plan::Stage;

/// Completes an image entry when the batch has run. Errors: what the task refused to answer.
using Answer = std::function<Result<void>(const compel::Batch &, img::core_entry &)>;

/// State of every thread.
struct ThreadResource {
    const char *name;
    Answer (*ask)(compel::Batch &, const tree::TaskFacts &, const tree::ThreadFacts &);
    Result<void> (*plan)(plan::ThreadPlan &, const img::core_entry &);
};

/// State of a process, asked of and restored by its leader.
struct TaskResource {
    const char *name;
    Answer (*ask)(compel::Batch &, const tree::TaskFacts &);
    Result<void> (*plan)(plan::ThreadPlan &, const img::core_entry &);
};

std::span<const ThreadResource *const> thread_resources();
std::span<const TaskResource *const> task_resources();

/// Fails with the errno of a batched call.
inline Result<void> must(const compel::Batch &batch, size_t call, const char *what) {
    if (batch.result(call) < 0)
        return base::fail_sys(static_cast<int>(-batch.result(call)), what);
    return {};
}

} // namespace resource
