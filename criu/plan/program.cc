#include "criu/plan/program.hh"

#include "criu/plan/late_files.hh"
#include "criu/plan/thread_directories.hh"
#include "criu/plan/waiting_room.hh"
#include "criu/resource/file/mqueue/mqueue_notify.hh"
#include "criu/resource/task/registers.hh"
#include "criu/resource/task/resources.hh"
#include "criu/resource/task/undo_list.hh"

#include <algorithm>
#include <fmt/format.h>
#include <linux/sched.h>
#include <numeric>
#include <sys/mman.h>
#include <sys/syscall.h>

namespace plan {
namespace {

constexpr size_t kLeaderStack = 16384, kThreadStack = 4096;

/// The order in which operations run: by stage, then as filed.
std::vector<size_t> order_of(const std::vector<PlannedOp> &ops) {
    std::vector<size_t> order(ops.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return ops[a].stage < ops[b].stage; });
    return order;
}

/// Puts the operations into their order; references follow.
std::vector<PlannedOp> arrange(const std::vector<PlannedOp> &ops) {
    std::vector<size_t> order = order_of(ops), place(ops.size());
    std::vector<PlannedOp> arranged;
    for (size_t i = 0; i < order.size(); i++)
        place[order[i]] = i;
    for (size_t from : order) {
        arranged.push_back(ops[from]);
        for (Arg &arg : arranged.back().args)
            if (arg.kind == Arg::Kind::Result)
                arg.value = place[arg.value];
    }
    return arranged;
}

agent::Op encode(const PlannedOp &planned) {
    agent::Op op{};
    op.kind = planned.kind;
    op.flags = planned.flags;
    op.nr = planned.nr;
    op.expect = planned.expect;
    for (unsigned i = 0; i < 6; i++) {
        op.arg[i] = planned.args[i].value;
        op.result_refs |= static_cast<uint8_t>((planned.args[i].kind == Arg::Kind::Result) << i);
        op.memory_refs |= static_cast<uint8_t>((planned.args[i].kind == Arg::Kind::Memory) << i);
    }
    return op;
}

/// Writes the list into the data; returns what the agent needs to run it.
agent::OpList emit(const std::vector<PlannedOp> &ops, Data &data) {
    std::vector<agent::Op> encoded;
    encoded.reserve(ops.size());
    for (const PlannedOp &op : ops)
        encoded.push_back(encode(op));
    uint64_t at = data.add(std::as_bytes(std::span(encoded)));
    return {at, static_cast<uint32_t>(encoded.size()), agent::kNoFailure};
}

void plan_barriers(ThreadPlan &plan, const Checkpoint &checkpoint, const Arena &arena) {
    if (checkpoint.has_late_files) {
        plan.op(Stage::Threaded, "wait until all threads exist", agent::OpKind::Barrier,
                {arena.rendezvous(), kThreaded});
        plan.op(Stage::LateOpened, "wait until late files are open", agent::OpKind::Barrier,
                {arena.rendezvous(), kLateOpened});
    }
    plan.op(Stage::Restored, "wait until all is restored", agent::OpKind::Barrier, {arena.rendezvous(), kRestored});
    plan.op(Stage::Final, "wait for the coordinator", agent::OpKind::Barrier, {arena.rendezvous(), kFinal});
}

/// Whether all threads have the same chain of filters: then it was installed before they were made, or for all at once.
bool share_filters(const TaskImage &task) {
    const img::thread_core_entry &first = task.core().thread_core();
    return task.threads.size() > 1 && first.seccomp_mode() == img::filter &&
           std::all_of(task.threads.begin(), task.threads.end(), [&](const ThreadImage &thread) {
               const img::thread_core_entry &other = thread.core.thread_core();
               return other.seccomp_mode() == img::filter && other.seccomp_filter() == first.seccomp_filter();
           });
}

Result<void> plan_thread(ThreadPlan &plan, const Checkpoint &checkpoint, const TaskImage &task,
                         const img::core_entry &core, const Arena &arena) {
    for (const resource::ThreadResource *kind : resource::thread_resources())
        TRY_CTX(kind->plan(plan, core), kind->name);
    const bool shared = share_filters(task);
    if (!shared || core.has_tc())
        TRY(resource::plan_seccomp_filters(plan, core, checkpoint.seccomp, shared));
    plan_barriers(plan, checkpoint, arena);
    return {};
}

/// Everything of the compilation of one task.
class Compiler {
public:
    Compiler(const Checkpoint &checkpoint, const TaskImage &task, const AddressSpace &space, const Surroundings &around,
             uint32_t list_id)
        : checkpoint_(checkpoint), task_(task), space_(space), around_(around), list_id_(list_id),
          group_(memory_group(checkpoint.tasks, task)), room_(room_of(task.pid)), data_(room_.start) {}

    Result<Program> compile() {
        if (shares_memory())
            program_.gate = data_.add_value(agent::Rendezvous{.expected = 1}); // see wait_for_memory()
        start_ = data_.reserve(sizeof(agent::RestoreStart));
        program_.listings.resize(task_.threads.size());
        // Stacks lie behind the data, whose size is not known yet: addressed from the end of the data's room instead.
        const size_t others = task_.threads.size() - 1;
        stacks_ = room_.end - kLeaderStack - others * kThreadStack;
        ThreadPlan leader(data_);
        TRY(plan_memory(leader));
        TRY(plan_process(leader));
        TRY(plan_late_files(leader, checkpoint_, task_, around_.proc_fd));
        plan_closing_directories(leader, around_.directories);
        for (size_t i = 1; i < task_.threads.size(); i++)
            if (!made_by_thread(task_.threads[i]))
                TRY_CTX(add_thread(leader, i), fmt::format("thread {}", task_.threads[i].tid));
        TRY(plan_thread(leader, checkpoint_, task_, task_.core(), around_.arena));
        auto ops = arrange(leader.ops());
        write_start(emit(ops, data_));
        program_.listings.front() = {task_.pid, std::move(ops)};
        return finish();
    }

private:
    bool shares_memory() const { return task_.memory_of != 0; }
    Range room_of(uint32_t pid) const {
        const auto place = static_cast<size_t>(std::ranges::find(group_, pid) - group_.begin());
        return plan_room(around_.arena, place, group_.size());
    }

    Result<void> plan_memory(ThreadPlan &leader) {
        if (shares_memory()) {
            wait_for_memory(leader);
            return {};
        }
        TRY(plan_memory_ops(leader, task_, space_, around_));
        for (const uint32_t pid : std::span(group_).subspan(1))
            open_gate(leader, room_of(pid).start);
        return {};
    }

    /// Of a process that shares it: it does nothing before all is at its place.
    void wait_for_memory(ThreadPlan &leader) {
        constexpr uint64_t kOpen = 1;
        leader.op(Stage::Unmap, "wait for the memory that it shares", agent::OpKind::Barrier, {room_.start, kOpen});
        plan_dumpable(leader, task_); // whoever changes ids changes it
    }

    static void open_gate(ThreadPlan &leader, uint64_t address) {
        constexpr uint32_t kOpen = 1;
        constexpr uint64_t kWake = 1; // FUTEX_WAKE
        const uint64_t gate = address + offsetof(agent::Rendezvous, stage);
        leader.op(Stage::Threads, "open its gate", agent::OpKind::Copy,
                  {gate, leader.data().add_value(kOpen), sizeof kOpen});
        leader.call(Stage::Threads, "futex, wake it", SYS_futex, {gate, kWake, 1});
    }

    /// Whether another thread makes it, whose descriptors it shares.
    bool made_by_thread(const ThreadImage &thread) const {
        const uint32_t table = own_table(thread);
        return table && table != task_.ids.files_id() &&
               std::ranges::find(task_.early_threads, thread.tid) == task_.early_threads.end();
    }

    /// Threads that have the descriptors of `maker`, which are not those of the process.
    Result<void> add_threads_of(ThreadPlan &plan, const ThreadImage &maker) {
        for (size_t i = 1; i < task_.threads.size(); i++)
            if (own_table(task_.threads[i]) == own_table(maker) && made_by_thread(task_.threads[i]))
                TRY_CTX(add_thread(plan, i), fmt::format("thread {}", task_.threads[i].tid));
        return {};
    }

    Result<void> plan_process(ThreadPlan &plan) {
        for (const resource::TaskResource *kind : resource::task_resources())
            TRY_CTX(kind->plan(plan, task_.core()), kind->name);
        const bool own_ipc = checkpoint_.root().ids.ipc_ns_id() != checkpoint_.inventory.root_ids().ipc_ns_id();
        TRY_CTX(resource::plan_undo(plan, task_.core().tc().ext(), own_ipc), "semaphores");
        return resource::plan_notifications(plan, checkpoint_.files, checkpoint_.tables.at(task_.ids.files_id()),
                                            task_.pid);
    }

    /// `maker`: the thread that makes it, or hands it its plan.
    Result<void> add_thread(ThreadPlan &maker, size_t index) {
        const ThreadImage &image = task_.threads[index];
        ThreadPlan thread(data_);
        const auto early = std::ranges::find(task_.early_threads, image.tid);
        const bool exists = early != task_.early_threads.end();
        if (exists)
            resource::plan_inherited_attributes(thread, task_.core());
        if (exists && own_table(image)) {
            TRY(add_threads_of(thread, image));
            plan_closing_directories(thread, around_.directories);
        }
        TRY(plan_thread(thread, checkpoint_, task_, image.core, around_.arena));
        plan_thread_directories(thread, task_, image.core, around_.directories);
        auto ops = arrange(thread.ops());
        clone_args args{};
        args.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
        args.stack = stacks_ + kLeaderStack + (index - 1) * kThreadStack;
        args.stack_size = kThreadStack;
        const std::vector<int32_t> numbers = checkpoint_.numbers.everywhere(image.tid);
        args.set_tid = data_.add(std::as_bytes(std::span(numbers)));
        args.set_tid_size = numbers.size();
        agent::ThreadStart start{};
        start.clone_args = data_.add_value(args);
        start.clone_args_size = sizeof args;
        start.list = emit(ops, data_);
        start.rendezvous = around_.arena.rendezvous();
        start.list_id = list_id_ + static_cast<uint32_t>(index);
        const uint64_t at = data_.add_value(start);
        if (exists)
            release_early(maker, task_.first_room + static_cast<size_t>(early - task_.early_threads.begin()), at);
        else
            maker.op(Stage::Threads, "clone3, a thread", agent::OpKind::SpawnThread, {at});
        program_.listings[index] = {image.tid, std::move(ops)};
        return {};
    }

    /// One that exists already gets its plan.
    void release_early(ThreadPlan &leader, size_t place, uint64_t start) {
        const uint64_t waiting = waiting_room(around_.arena, place);
        leader.op(Stage::Threads, "hand a thread its plan", agent::OpKind::Copy,
                  {waiting + offsetof(WaitingRoom, plan), data_.add_value(start), sizeof start});
        open_gate(leader, waiting + offsetof(WaitingRoom, gate));
    }

    void write_start(agent::OpList list) {
        agent::RestoreStart start{list, around_.arena.rendezvous(), list_id_, 0};
        std::memcpy(data_.at(start_, sizeof start).data(), &start, sizeof start);
    }

    Result<Program> finish() {
        program_.base = data_.base();
        program_.bytes = data_.bytes();
        if (program_.base + program_.bytes.size() > base::page_down(stacks_))
            return base::unsupported("it has too many threads and mappings: the plan of its restore does not fit");
        program_.start = start_;
        program_.stack = stacks_ + kLeaderStack;
        program_.stacks = {base::page_down(stacks_), room_.end};
        return std::move(program_);
    }

    const Checkpoint &checkpoint_;
    const TaskImage &task_;
    const AddressSpace &space_;
    const Surroundings &around_;
    uint32_t list_id_;
    std::vector<uint32_t> group_; ///< all of its address space
    Range room_;
    Data data_;
    uint64_t start_ = 0, stacks_ = 0;
    Program program_;
};

} // namespace

Result<Program> compile(const Checkpoint &checkpoint, const TaskImage &task, const AddressSpace &space,
                        const Surroundings &around, uint32_t list_id) {
    return Compiler(checkpoint, task, space, around, list_id).compile();
}

Result<std::vector<ThreadFinish>> finishes(const TaskImage &task) {
    std::vector<ThreadFinish> all;
    for (const ThreadImage &thread : task.threads) {
        ThreadFinish finish;
        finish.tid = thread.tid;
        finish.registers = TRY_CTX(resource::read_registers(thread.core), fmt::format("thread {}", thread.tid));
        finish.limited_call =
            TRY_CTX(resource::read_limited_call(thread.core, finish.registers), fmt::format("thread {}", thread.tid));
        finish.thread_areas = resource::read_thread_areas(thread.core);
        finish.xstate = TRY_CTX(resource::read_xstate(thread.core), fmt::format("thread {}", thread.tid));
        finish.signal_mask =
            thread.core.has_tc() ? thread.core.tc().blk_sigset() : thread.core.thread_core().blk_sigset();
        finish.dispatch = resource::read_dispatch(thread.core);
        all.push_back(std::move(finish));
    }
    return all;
}

std::string describe(const PlannedOp &op) {
    std::string text = fmt::format("{:<9} {}", stage_name(op.stage), op.what);
    size_t last = 6;
    while (last && op.args[last - 1].kind == Arg::Kind::Constant && op.args[last - 1].value == 0)
        last--;
    text += '(';
    for (size_t i = 0; i < last; i++) {
        const Arg &arg = op.args[i];
        if (i)
            text += ", ";
        if (arg.kind == Arg::Kind::Constant)
            text += arg.value < 4096 ? fmt::format("{}", arg.value) : fmt::format("{:#x}", arg.value);
        else if (arg.kind == Arg::Kind::Result)
            text += fmt::format("result of {}", arg.value);
        else
            text += fmt::format("*{:#x}", arg.value);
    }
    text += ')';
    if (op.flags & agent::kOpExpect)
        text += fmt::format(" = {}", op.expect);
    if (op.flags & agent::kOpMayFail)
        text += " or not";
    return text;
}

Result<void> validate(const Listing &listing, const Arena &arena) {
    auto bug = [&](size_t i, const char *what) {
        return base::fail(base::ErrorKind::Bug,
                          fmt::format("plan of {}: operation {} ({}): {}", listing.tid, i, listing.ops[i].what, what));
    };
    for (size_t i = 0; i < listing.ops.size(); i++) {
        const PlannedOp &op = listing.ops[i];
        if (i && op.stage < listing.ops[i - 1].stage)
            return bug(i, "its stage is over");
        for (const Arg &arg : op.args)
            if (arg.kind == Arg::Kind::Result && arg.value >= i)
                return bug(i, "it uses a result that is not there yet");
        const bool unmaps = op.kind == agent::OpKind::Syscall && op.nr == SYS_munmap;
        if (unmaps && op.args[0].value < arena.end() && op.args[0].value + op.args[1].value > arena.base)
            return bug(i, "it unmaps the agent");
    }
    if (listing.ops.empty() || listing.ops.back().kind != agent::OpKind::Barrier)
        return base::fail(base::ErrorKind::Bug,
                          fmt::format("plan of {} does not end at the final barrier", listing.tid));
    return {};
}

} // namespace plan
