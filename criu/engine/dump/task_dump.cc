#include "criu/engine/dump/task_dump.hh"

#include "base/clock.hh"
#include "criu/engine/dump/collect.hh"
#include "criu/engine/dump/ended_leader.hh"
#include "criu/engine/dump/ids.hh"
#include "criu/engine/dump/increments.hh"
#include "criu/engine/dump/injection_site.hh"
#include "criu/engine/dump/left_memory.hh"
#include "criu/engine/dump/own_tables.hh"
#include "criu/engine/dump/page_sender.hh"
#include "criu/engine/dump/page_writer.hh"
#include "criu/engine/dump/precopy.hh"
#include "criu/engine/dump/snapshot.hh"
#include "criu/kernel/io.hh"
#include "criu/resource/task/registers.hh"
#include "criu/resource/task/undo_list.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

namespace dump {
namespace {

constexpr uint32_t kAlive = 1, kDead = 2, kStopped = 3;

/// Questions of one thread, and the entry that the answers complete.
struct ThreadQuestions {
    img::core_entry core;
    std::vector<resource::Answer> answers;
};

ThreadQuestions ask_thread(compel::Batch &batch, const tree::TaskFacts &task, const tree::ThreadFacts &thread) {
    ThreadQuestions questions;
    for (const resource::ThreadResource *kind : resource::thread_resources())
        questions.answers.push_back(kind->ask(batch, task, thread));
    return questions;
}

Result<void> complete(ThreadQuestions &questions, const compel::Batch &batch, const tree::ThreadFacts &thread) {
    for (resource::Answer &answer : questions.answers)
        TRY(answer(batch, questions.core));
    questions.core.mutable_thread_core()->set_cg_set(thread.cgroup_set);
    // Empty extension messages would only cost bytes.
    if (questions.core.thread_core().ext().ByteSizeLong() == 0)
        questions.core.mutable_thread_core()->clear_ext();
    return {};
}

void begin_leader(img::core_entry &core, const tree::TaskFacts &task, const tree::Namespaces &namespaces) {
    img::task_core_entry *tc = core.mutable_tc();
    tc->set_task_state(task.stopped ? kStopped : kAlive);
    if (task.stopped)
        tc->set_stop_signo(static_cast<uint32_t>(task.stop_signal));
    tc->set_exit_code(0);
    tc->set_personality(0);
    tc->set_flags(task.stat.flags);
    tc->set_blk_sigset(0);
    tc->set_comm(task.stat.comm);
    if (!task.sem_undo.empty())
        resource::write_undo(task, tc->mutable_ext());
    if (const uint64_t next = task.ns.time_for_children; next && next != task.ns[tree::NamespaceKind::Time])
        tc->mutable_ext()->set_time_for_children(namespaces.id_of(tree::NamespaceKind::Time, next));
}

/// What the engine itself, not a resource, wants to know of the address space.
struct MmQuestions {
    size_t brk, dumpable, thp, mincore;
    uint64_t resident;
    size_t descriptor_table;
    std::array<size_t, 15> keys;
    static MmQuestions ask(compel::Batch &batch, const tree::TaskFacts &task) {
        MmQuestions questions{batch.call(SYS_brk, {0}),
                              batch.call(SYS_prctl, {PR_GET_DUMPABLE, 0, 0, 0, 0}),
                              batch.call(SYS_prctl, {PR_GET_THP_DISABLE, 0, 0, 0, 0}),
                              0,
                              batch.out(1),
                              0};
        const uint64_t entry = batch.out(sizeof(uint64_t));
        questions.descriptor_table = batch.call(SYS_modify_ldt, {0, entry, sizeof(uint64_t)});
        // mlockall(MCL_FUTURE) cannot be asked for, but a fresh mapping tells: it is there at once.
        // A 64-bit call of a 32-bit program would look above its end for room.
        const uint64_t low = task.is_32bit ? MAP_32BIT : 0;
        size_t probe = batch.call(
            SYS_mmap, {0, base::kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | low, ~0ull, 0});
        questions.mincore = batch.call_with_result(SYS_mincore, {0, base::kPageSize, questions.resident}, 0, probe);
        batch.call_with_result(SYS_munmap, {0, base::kPageSize}, 0, probe);
        // Which protection keys are free shows by allocating them.
        for (size_t &key : questions.keys)
            key = batch.call(SYS_pkey_alloc, {0, 0});
        for (size_t key : questions.keys)
            batch.call_with_result(SYS_pkey_free, {0}, 0, key);
        return questions;
    }
    /// Segments of its own have no place in the images.
    Result<void> refuse(const compel::Batch &done) const {
        if (done.result(descriptor_table) > 0)
            return base::unsupported("it has segments in a local descriptor table (modify_ldt)");
        return {};
    }
    MmAnswers answers(const compel::Batch &done) const {
        const int64_t disabled = done.result(thp);
        return {static_cast<uint64_t>(done.result(brk)),
                static_cast<int32_t>(done.result(dumpable)),
                disabled > 0,
                disabled > 0 ? static_cast<uint32_t>(disabled) : 0,
                done.result(mincore) == 0 && (done.value<uint8_t>(resident) & 1),
                false,
                {},
                keys_in_use(done)};
    }

    /// Nothing where no key is free, which is also so on processors without keys.
    std::optional<uint32_t> keys_in_use(const compel::Batch &done) const {
        uint32_t free = 0;
        for (size_t key : keys)
            if (done.result(key) > 0 && done.result(key) <= 15)
                free |= 1u << done.result(key);
        return free ? std::optional(0xffffu & ~free) : std::nullopt;
    }
};

/// The close-on-exec flags of a table, asked for in one batch or another.
class CloseOnExec {
public:
    /// A few come along with all other questions.
    void ask_few(compel::Batch &batch, std::span<const int> fds) {
        constexpr size_t kFew = 200;
        if (fds.size() > kFew)
            return;
        first_ = batch.calls();
        ask(batch, fds);
        asked_ = true;
    }

    Result<std::vector<bool>> take(compel::Injection &agent, const compel::Batch &few, std::span<const int> fds) const {
        std::vector<bool> flags;
        if (asked_) {
            TRY(read(few, first_, fds.size(), flags));
            return flags;
        }
        constexpr size_t kPerBatch = 1000;
        for (; !fds.empty(); fds = fds.subspan(std::min(kPerBatch, fds.size()))) {
            compel::Batch batch = agent.batch();
            const auto some = fds.first(std::min(kPerBatch, fds.size()));
            ask(batch, some);
            TRY(agent.run(batch));
            TRY(read(batch, 0, some.size(), flags));
        }
        return flags;
    }

private:
    static void ask(compel::Batch &batch, std::span<const int> fds) {
        for (int fd : fds)
            batch.call(SYS_fcntl, {static_cast<uint64_t>(fd), F_GETFD});
    }
    static Result<void> read(const compel::Batch &batch, size_t first, size_t count, std::vector<bool> &flags) {
        for (size_t i = first; i < first + count; i++) {
            TRY(resource::must(batch, i, "fcntl(F_GETFD)"));
            flags.push_back(batch.result(i) & FD_CLOEXEC);
        }
        return {};
    }

    size_t first_ = 0;
    bool asked_ = false;
};

Result<void> write_core(TaskDumpContext &context, base::VPid tid, const img::core_entry &core) {
    TRY(context.images.add(image::ImageKind::Core, static_cast<uint64_t>(tid.value), core));
    return context.images.close_file(image::ImageKind::Core, static_cast<uint64_t>(tid.value));
}

/// `core` is that of the leader, or of the thread that answered in its place.
Result<void> write_leader(TaskDumpContext &context, const tree::TaskFacts &task, img::core_entry &core,
                          const compel::RemoteMemory &memory) {
    if (task.leader_ended()) {
        TRY(write_core(context, task.vpid, TRY(take_ended_leader(core, task, memory))));
        return write_core(context, task.threads.front().vtid, core);
    }
    return write_core(context, task.vpid, core);
}

Result<void> dump_directories(TaskDumpContext &context, const tree::TaskFacts &task, const tree::ThreadFacts &thread,
                              img::core_entry *core) {
    auto link = [&](const char *name) { return fmt::format("/proc/{}/{}", thread.tid.value, name); };
    img::ext_directories *own = core->mutable_thread_core()->mutable_ext()->mutable_directories();
    own->set_cwd_id(TRY_CTX(context.files.add_path(task, link("cwd"), O_RDONLY), "working directory").value);
    own->set_root_id(TRY_CTX(context.files.add_path(task, link("root"), O_RDONLY), "root directory").value);
    own->set_umask(thread.status.umask.value_or(0));
    return {};
}

Result<void> dump_threads(TaskDumpContext &context, const tree::TaskFacts &task, compel::Injection &agent) {
    std::vector<compel::Injection::ThreadRun> runs;
    std::vector<ThreadQuestions> questions;
    for (size_t i = 1; i < task.threads.size(); i++) {
        const tree::ThreadFacts &thread = task.threads[i];
        runs.push_back(
            {compel::StoppedThread(thread.tid), thread.registers, thread.signal_mask, agent.thread_batch(i - 1)});
        questions.push_back(ask_thread(runs.back().batch, task, thread));
    }
    TRY(agent.run_threads(runs));
    for (size_t i = 0; i < runs.size(); i++) {
        const tree::ThreadFacts &thread = task.threads[i + 1];
        auto context_text = [&] { return fmt::format("thread {}", thread.tid.value); };
        TRY_CTX(resource::write_registers(thread, questions[i].core), context_text());
        TRY_CTX(complete(questions[i], runs[i].batch, thread), context_text());
        if (thread.own_table)
            questions[i].core.mutable_thread_core()->mutable_ext()->set_files_id(thread.own_table);
        if (thread.own_directories)
            TRY_CTX(dump_directories(context, task, thread, &questions[i].core), context_text());
        TRY(write_core(context, thread.vtid, questions[i].core));
    }
    return {};
}

Result<void> dump_fs(TaskDumpContext &context, const tree::TaskFacts &task) {
    auto link = [&](const char *name) { return fmt::format("/proc/{}/{}", task.voice.value, name); };
    img::fs_entry fs;
    fs.set_cwd_id(TRY_CTX(context.files.add_path(task, link("cwd"), O_RDONLY), "working directory").value);
    fs.set_root_id(TRY_CTX(context.files.add_path(task, link("root"), O_RDONLY), "root directory").value);
    fs.set_umask(task.status().umask.value_or(0));
    const auto id = static_cast<uint64_t>(task.vpid.value);
    TRY(context.images.add(image::ImageKind::Fs, id, fs));
    return context.images.close_file(image::ImageKind::Fs, id);
}

Result<void> dump_ids(TaskDumpContext &context, const tree::TaskFacts &task) {
    const auto id = static_cast<uint64_t>(task.vpid.value);
    TRY(context.images.add(image::ImageKind::Ids, id, ids_entry(task, context.namespaces)));
    return context.images.close_file(image::ImageKind::Ids, id);
}

/// Whether the agent's own memory was locked as it was mapped: MCL_FUTURE, here with MCL_ONFAULT.
bool locks_what_is_new(const tree::TaskFacts &task) {
    auto text = kernel::read_file(AT_FDCWD, fmt::format("/proc/{}/status", task.voice.value).c_str());
    auto now = parse::parse_status(text.value_or(std::string()));
    return now && now->vm_locked_kb > task.status().vm_locked_kb;
}

/// `only`: see scan_pages().
Result<PageRuns> scan(TaskDumpContext &context, const tree::TaskFacts &task,
                      const std::vector<resource::MappingClass> &classes, compel::Injection &agent,
                      const std::vector<bool> *only = nullptr) {
    base::Stopwatch clock(context.memory.statistics.scan_us);
    auto scanner = TRY(pages::PageScanner::open(task.voice));
    Increments *increments = context.memory.increments;
    if (increments)
        increments->prepare(scanner);
    PageRuns runs = TRY(scan_pages(task, classes, scanner, only));
    if (increments)
        TRY(increments->apply(task, scanner, agent, runs));
    return runs;
}

/// Everything that happens while the agent is inside, but for the memory.
Result<img::mm_entry> dump_inside(TaskDumpContext &context, const tree::TaskFacts &task,
                                  const std::vector<resource::MappingClass> &classes, compel::Injection &agent,
                                  const compel::RemoteMemory &memory) {
    compel::Batch batch = agent.batch();
    ThreadQuestions leader = ask_thread(batch, task, task.threads.front());
    begin_leader(leader.core, task, context.namespaces);
    for (const resource::TaskResource *kind : resource::task_resources())
        leader.answers.push_back(kind->ask(batch, task));
    MmQuestions mm = MmQuestions::ask(batch, task);
    const bool new_table = context.tables.files.insert(task.ids.files).second;
    CloseOnExec flags;
    if (new_table)
        flags.ask_few(batch, task.fds);
    for (const tree::AbandonedAgent &old : task.abandoned) {
        for (int fd : old.fds)
            batch.call(SYS_close, {static_cast<uint64_t>(fd)});
        batch.call(SYS_munmap, {old.base, old.size});
    }
    TRY(agent.run(batch));
    TRY(resource::write_registers(task.threads.front(), leader.core));
    TRY(complete(leader, batch, task.threads.front()));
    TRY(mm.refuse(batch));
    MmAnswers answers = mm.answers(batch);
    answers.locks_future_on_fault = !answers.locks_future && locks_what_is_new(task);
    answers.policies = TRY(resource::ask_numa_policies(agent, task));
    if (answers.thp_flags > 1)
        leader.core.mutable_tc()->mutable_ext()->set_thp_disable_flags(answers.thp_flags);
    TRY(write_leader(context, task, leader.core, memory));
    TRY(dump_threads(context, task, agent));
    TRY(dump_ids(context, task));
    TRY(dump_fs(context, task));
    if (new_table)
        TRY(context.files.add_table({task.pid, task.voice, task.fds, task.ids.files},
                                    TRY(flags.take(agent, batch, task.fds))));
    TRY(dump_own_tables(context.files, context.tables.files, task));
    if (task.memory_of.value)
        return img::mm_entry();
    return dump_mappings(context.memory, task, classes, answers, memory);
}

/// All mappings that are there now.
std::vector<parse::Vma> occupied(const tree::TaskFacts &task) {
    std::vector<parse::Vma> vmas = task.vmas;
    for (const tree::AbandonedAgent &old : task.abandoned)
        vmas.push_back({.start = old.base, .end = old.base + old.size});
    std::ranges::sort(vmas, {}, &parse::Vma::start);
    return vmas;
}

Result<compel::InjectionSite> site_in(const tree::TaskFacts &task, const compel::RemoteMemory &memory) {
    const size_t others = task.threads.size() - 1;
    return task.abandoned.empty() ? choose_site(task.vmas, memory, others, task.address_end())
                                  : choose_site(occupied(task), memory, others, task.address_end());
}

} // namespace

struct TaskInDump::Visit {
    explicit Visit(compel::RemoteMemory m) : memory(std::move(m)) {}

    /// Whether all about memory, mm-N.img too, is left to a copy of the task, as far as that has it. Where writes are
    /// noted the pages are looked at in the stop all the same: what is written from then on counts for the next dump.
    Result<bool> leave_to_snapshot(TaskDumpContext &context, const tree::TaskFacts &task,
                                   const std::vector<resource::MappingClass> &classes, img::mm_entry &mm) {
        Snapshot *snapshot = context.memory.snapshot;
        auto twin = snapshot ? TRY(snapshot->fork(task, *agent)) : std::nullopt;
        if (!twin)
            return false;
        const std::vector<bool> forked = copied_by_fork(task, classes);
        std::vector<bool> rest = forked;
        rest.flip();
        const Increments *increments = context.memory.increments;
        const bool noted = increments && increments->uses_notes();
        PageRuns runs = TRY(scan(context, task, classes, *agent, noted ? nullptr : &rest));
        TaskSnapshot taken(task, classes, std::move(*twin), std::move(mm), std::move(runs));
        TRY(taken.read_rest(memory));
        if (!noted)
            taken.look_later();
        snapshot->add(std::make_unique<TaskSnapshot>(std::move(taken)));
        return true;
    }

    /// Whether most of its memory was copied before the stop: the rest is put aside in finish(), and all of it goes
    /// into the images when the tree runs.
    Result<bool> leave_to_copied(TaskDumpContext &context, const tree::TaskFacts &task,
                                 const std::vector<resource::MappingClass> &classes, img::mm_entry &mm) {
        Precopy *ahead = context.memory.ahead;
        auto copied = ahead ? ahead->take(task) : std::nullopt;
        if (!copied)
            return false;
        PageRuns runs = TRY(scan(context, task, classes, *agent));
        const auto unwritten = pages::intersect(runs.clean, context.memory.increments->watched(task));
        runs.data = without_parents_pages(runs.data, unwritten, copied->valid());
        TRY(write_mm(context.images, task, mm, runs.guards));
        late = TRY(unnamed_file(ahead->folder()));
        base::UniqueFd kept(fcntl(late.get(), F_DUPFD_CLOEXEC, 3));
        if (!kept)
            return base::fail_sys("put memory aside");
        base::Stopwatch clock(context.memory.statistics.write_us);
        pages.emplace(late.get(), context.memory.agent_may_write ? &*agent : nullptr, memory);
        TRY(pages->begin(runs.data));
        context.memory.snapshot->add(
            std::make_unique<PrecopiedTask>(task, std::move(*copied), std::move(kept), std::move(runs)));
        return true;
    }

    Result<void> begin_pages(TaskDumpContext &context, const PageRuns &runs) {
        base::Stopwatch clock(context.memory.statistics.write_us);
        if (!output->has_file())
            return send_pages(*output, runs.data, voice, memory, context.memory.progress);
        pages.emplace(TRY(output->file()), context.memory.agent_may_write ? &*agent : nullptr, memory,
                      context.memory.progress);
        return pages->begin(runs.data);
    }

    Result<void> finish(TaskDumpContext &context) {
        base::Stopwatch clock(context.memory.statistics.write_us);
        if (pages)
            TRY(pages->finish());
        if (output) // of a snapshot it comes later
            TRY(output->close());
        return agent->leave();
    }

    compel::RemoteMemory memory;
    std::optional<compel::Injection> agent;
    std::unique_ptr<pages::MemoryOutput> output;
    base::UniqueFd late;                 ///< takes what was not copied before the stop
    std::optional<TaskPageWriter> pages; ///< where there are any, and they go into a file
    base::Pid voice;
    std::string name; ///< for errors
};

TaskInDump::TaskInDump(std::unique_ptr<Visit> visit) : visit_(std::move(visit)) {}
TaskInDump::TaskInDump(TaskInDump &&) noexcept = default;
TaskInDump &TaskInDump::operator=(TaskInDump &&) noexcept = default;
TaskInDump::~TaskInDump() = default;

Result<TaskInDump> TaskInDump::begin(TaskDumpContext &context, const tree::TaskFacts &task) {
    auto classes = TRY(classify_all(task));
    auto visit = std::make_unique<Visit>(TRY(compel::RemoteMemory::open(task.voice)));
    visit->name = name_of(task);
    auto site = TRY(site_in(task, visit->memory));
    const tree::ThreadFacts &leader = task.threads.front();
    visit->agent.emplace(TRY(compel::Injection::enter(compel::StoppedThread(leader.tid), leader.registers,
                                                      visit->memory, site, task.threads.size() - 1)));
    img::mm_entry mm = TRY(dump_inside(context, task, classes, *visit->agent, visit->memory));
    if (task.memory_of.value || TRY(visit->leave_to_copied(context, task, classes, mm)) ||
        TRY(visit->leave_to_snapshot(context, task, classes, mm)))
        return TaskInDump(std::move(visit));
    PageRuns runs = TRY(scan(context, task, classes, *visit->agent));
    TRY(write_mm(context.images, task, mm, runs.guards));
    if (context.memory.left) {
        for (PageRun &run : runs.data)
            run.left = run.lazy && !run.in_parent;
        TRY(context.memory.left->add(task, runs.data));
    }
    visit->voice = task.voice;
    visit->output = TRY(dump_pagemap(context.memory, task, runs));
    if (runs.stores_any() || !visit->output->has_file())
        TRY(visit->begin_pages(context, runs));
    return TaskInDump(std::move(visit));
}

Result<void> TaskInDump::finish(TaskDumpContext &context) {
    TRY_CTX(visit_->finish(context), visit_->name);
    return {};
}

Result<void> dump_zombie(TaskDumpContext &context, const tree::TaskFacts &task) {
    img::core_entry core;
    core.set_mtype(img::core_entry::X86_64);
    img::task_core_entry *tc = core.mutable_tc();
    tc->set_task_state(kDead);
    tc->set_exit_code(static_cast<uint32_t>(task.stat.exit_code));
    tc->set_personality(0), tc->set_flags(0), tc->set_blk_sigset(0);
    tc->set_comm(task.stat.comm);
    if (task.parent_vthread.value)
        tc->mutable_ext()->set_parent_thread(static_cast<uint32_t>(task.parent_vthread.value));
    if (task.stat.exit_signal != SIGCHLD)
        tc->mutable_ext()->set_exit_signal(static_cast<uint32_t>(task.stat.exit_signal));
    if (!task.inner.empty())
        tc->mutable_ext()->set_pid_namespace(
            context.namespaces.id_of(tree::NamespaceKind::Pid, task.ns[tree::NamespaceKind::Pid]));
    return write_core(context, task.vpid, core);
}

} // namespace dump
