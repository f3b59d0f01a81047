#include "criu/engine/restore/thread_children.hh"

#include "compel/blob.hh"
#include "criu/engine/restore/launch.hh"
#include "criu/plan/waiting_room.hh"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <linux/sched.h>
#include <sched.h>
#include <span>
#include <sys/mman.h>

namespace restore {
namespace {

/// `place`: among all early threads of this address space.
Result<AgentStart> map_waiting_room(const plan::Arena &arena, size_t place) {
    const uint64_t address = plan::waiting_room(arena, place);
    void *room = mmap(reinterpret_cast<void *>(address), plan::WaitingRoom::kSize, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (room == MAP_FAILED)
        return base::fail_sys("map a thread's waiting room");
    const plan::WaitingRoom contents = plan::make_waiting_room(address);
    std::memcpy(room, &contents, sizeof contents);
    return AgentStart{.entry = arena.code() + compel::agent_header().restore,
                      .start = address + offsetof(plan::WaitingRoom, start),
                      .stack = address + plan::WaitingRoom::kSize,
                      .gate = address + offsetof(plan::WaitingRoom, gate)};
}

/// What to create a thread of this process by; `wanted`, all numbers that it has, has to outlive the call.
clone_args thread_of_ours(std::span<const int32_t> wanted) {
    clone_args args{};
    args.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    args.set_tid = reinterpret_cast<uint64_t>(wanted.data());
    args.set_tid_size = wanted.size();
    return args;
}

/// What an early thread does before it waits in the agent.
Result<void> live_as_thread(RestoreContext &context, const plan::Node &node, const plan::ThreadImage &thread,
                            Strand &self, const std::function<Result<void>(uint32_t)> &fork) {
    const uint32_t table = plan::own_table(thread);
    const bool owns = table && table != context.task(node).ids.files_id();
    if (owns && unshare(CLONE_FILES) < 0)
        return base::fail_sys("unshare(CLONE_FILES)");
    TRY(fork(thread.tid));
    if (!owns)
        return {};
    context.threads_here[thread.tid] = &self;
    self.yield(); // until files may be put to their numbers
    return place_own_table(context, node, table);
}

} // namespace

Result<void> make_early_threads(RestoreContext &context, const plan::Node &node,
                                const std::function<Result<void>(uint32_t thread)> &fork) {
    if (context.task(node).early_threads.empty())
        return {};
    TRY(map_agent(context));
    const plan::TaskImage &task = context.task(node);
    for (size_t i = 0; i < task.early_threads.size(); i++) {
        const plan::ThreadImage &thread =
            *std::ranges::find(task.threads, task.early_threads[i], &plan::ThreadImage::tid);
        const AgentStart waiting = TRY(map_waiting_room(context.around.arena, task.first_room + i));
        auto body = [&context, &node, &thread, &fork, waiting](Strand &self) {
            if (auto done = live_as_thread(context, node, thread, self, fork); !done)
                self.fail(base::fail(std::move(done.error().ctx(fmt::format("thread {}", thread.tid)))));
            return waiting;
        };
        const std::vector<int32_t> wanted = context.checkpoint.numbers.everywhere(thread.tid);
        TRY_CTX(Strand::start(thread_of_ours(wanted), body, context.rendezvous, context.strands),
                fmt::format("create thread {}", thread.tid));
    }
    return {};
}

} // namespace restore
