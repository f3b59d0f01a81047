#include "criu/engine/dump/collect.hh"

#include "base/unique_fd.hh"
#include "compel/remote_memory.hh"
#include "criu/engine/dump/remains.hh"
#include "criu/engine/dump/shared_ids.hh"
#include "criu/engine/dump/thread_facts.hh"
#include "criu/kernel/namespaces.hh"
#include "criu/kernel/proc_dir.hh"
#include "criu/parse/elf.hh"

#include <algorithm>
#include <elf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <future>
#include <linux/kcmp.h>
#include <set>
#include <span>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace dump {
namespace {

using base::Pid;

/// Reads files of one /proc/PID, one after the other into the same buffer.
class ProcFiles {
public:
    static Result<ProcFiles> open(Pid pid) { return ProcFiles(TRY(kernel::ProcDir::open(pid))); }

    /// Valid until the next one is read.
    Result<std::string_view> read(const char *name) {
        if (auto done = directory_.read_file(name, text_); !done) {
            base::Error error = std::move(done).error();
            if (error.code() == EACCES)
                error.hint("a program of another user, or one that may not be dumped, takes CAP_DAC_OVERRIDE");
            return base::fail(std::move(error));
        }
        return std::string_view(text_);
    }
    const kernel::ProcDir &directory() const { return directory_; }

private:
    explicit ProcFiles(kernel::ProcDir directory) : directory_(std::move(directory)) {}
    kernel::ProcDir directory_;
    std::string text_;
};

// Files that not every kernel has.
template <class T, class Parse> std::optional<T> optional_number(ProcFiles &proc, const char *name, Parse parse) {
    auto text = proc.read(name);
    if (!text)
        return std::nullopt;
    auto value = parse(*text);
    if (!value)
        return std::nullopt;
    return static_cast<T>(*value);
}

// To list the directory the kernel makes an inode for each descriptor. Of a table that is well filled every number is
// tried instead, in a fifth of the time. How many there are it tells since Linux 6.2.
Result<std::vector<int>> descriptors(const kernel::ProcDir &proc, const parse::Status &status) {
    constexpr size_t kWorthwhile = 200;
    struct stat folder {};
    const size_t open = fstatat(proc.fd(), "fd", &folder, 0) == 0 ? static_cast<size_t>(folder.st_size) : 0;
    std::vector<int> found;
    if (open >= kWorthwhile && open * 2 >= status.fd_size)
        for (uint32_t number = 0; number < status.fd_size; number++)
            if (syscall(SYS_kcmp, status.pid, status.pid, KCMP_FILE, number, number) == 0)
                found.push_back(static_cast<int>(number));
    if (!found.empty() && found.size() == open)
        return found;
    return proc.list_fds();
}

/// The table without what smaps adds: to count the pages of each mapping takes the kernel 12 ms a GiB.
Result<void> collect_memory(ProcFiles &proc, const parse::Status &leader, tree::TaskFacts &facts) {
    facts.vmas = TRY(parse::parse_maps(TRY(proc.read("maps"))));
    facts.fds = TRY(descriptors(proc.directory(), leader));
    return {};
}

Result<void> collect_process(ProcFiles &proc, const parse::Status &leader, MappingReader &mappings,
                             tree::TaskFacts &facts) {
    facts.vmas = TRY(mappings.read(proc.directory().fd(), Pid(leader.pid), leader.vm_rss_kb << 10));
    facts.auxv = TRY(parse::parse_auxv(TRY(proc.read("auxv"))));
    facts.fds = TRY(descriptors(proc.directory(), leader));
    // Needs CONFIG_POSIX_TIMERS, which every kernel with checkpoint support has.
    facts.timers = TRY(parse::parse_timers(TRY(proc.read("timers"))));
    facts.coredump_filter = optional_number<uint32_t>(proc, "coredump_filter", parse::parse_hex_number);
    facts.oom_score_adj = optional_number<int32_t>(proc, "oom_score_adj", parse::parse_number).value_or(0);
    facts.loginuid = optional_number<uint32_t>(proc, "loginuid", parse::parse_number);
    if (auto text = proc.read("autogroup"))
        if (auto autogroup = parse::parse_autogroup(*text))
            facts.autogroup_nice = autogroup->nice;
    return {};
}

Result<void> refuse(const tree::TaskFacts &facts) {
    if (facts.stat.flags & 0x00200000) // PF_KTHREAD
        return base::unsupported("it is a kernel thread");
    return {};
}

// Where the leader has ended its entry in /proc has neither memory nor files any more. Every thread has one like it,
// although it is not listed.
Pid voice_of(const compel::FrozenProcess &process) {
    return process.zombie || process.threads.empty() ? process.pid : process.threads.front().tid;
}

/// As it would be if the leader lived.
Result<void> take_from_leader(const compel::FrozenProcess &process, parse::Stat &stat) {
    ProcFiles proc = TRY(ProcFiles::open(process.pid));
    parse::Stat leader = TRY(parse::parse_stat(TRY(proc.read("stat"))));
    stat.pid = leader.pid;
    stat.comm = std::move(leader.comm);
    stat.exit_signal = leader.exit_signal;
    stat.exit_code = leader.exit_code;
    return {};
}

/// What /proc tells, of the threads too.
Result<void> read_proc(const compel::FrozenProcess &process, Depth depth, MappingReader &mappings,
                       tree::TaskFacts &facts, std::vector<parse::Status> &statuses) {
    const Pid voice = voice_of(process);
    ProcFiles proc = TRY(ProcFiles::open(voice));
    facts.stat = TRY(parse::parse_stat(TRY(proc.read("stat"))));
    if (voice != process.pid)
        TRY(take_from_leader(process, facts.stat));
    facts.parent = Pid(facts.stat.ppid);
    if (process.zombie) {
        statuses.push_back(TRY(parse::parse_status(TRY(proc.read("status")))));
        facts.ns[tree::NamespaceKind::Pid] = TRY(kernel::namespaces_of(voice))[tree::NamespaceKind::Pid];
        return {};
    }
    facts.ns = TRY(kernel::namespaces_of(voice));
    for (const compel::FrozenThread &thread : process.threads) {
        std::string name = thread.tid == voice ? "status" : fmt::format("task/{}/status", thread.tid.value);
        statuses.push_back(
            TRY_CTX(parse::parse_status(TRY(proc.read(name.c_str()))), fmt::format("thread {}", thread.tid.value)));
    }
    return depth == Depth::Memory ? collect_memory(proc, statuses.front(), facts)
                                  : collect_process(proc, statuses.front(), mappings, facts);
}

/// What only the tracer can ask.
Result<void> ask_task(const compel::FrozenProcess &process, std::vector<tree::ThreadFacts> &threads,
                      std::vector<siginfo_t> &shared_pending) {
    if (process.zombie)
        return {};
    auto memory = TRY(compel::RemoteMemory::open(voice_of(process)));
    for (const compel::FrozenThread &thread : process.threads)
        threads.push_back(TRY_CTX(what_ptrace_tells(thread, memory), fmt::format("thread {}", thread.tid.value)));
    shared_pending = TRY(compel::StoppedThread(process.threads.front().tid).pending_signals(true));
    return {};
}

/// Both halves of what there is to know of a task. They are found out at the same time: see collect().
struct Halves {
    tree::TaskFacts read;
    std::vector<parse::Status> statuses;
    std::vector<tree::ThreadFacts> asked;
    std::vector<siginfo_t> shared_pending;
};

/// A program of 64 bits may run code of 32 (Wine does); its vdso tells, where it has one.
bool is_32bit(const tree::TaskFacts &task) {
    if (std::ranges::none_of(task.threads, compel::is_32bit, &tree::ThreadFacts::registers))
        return false;
    const auto vdso = std::ranges::find(task.vmas, "[vdso]", &parse::Vma::name);
    const auto memory = compel::RemoteMemory::open(task.voice);
    if (vdso == task.vmas.end() || !memory)
        return true;
    std::string head(sizeof(Elf64_Ehdr), '\0');
    head.resize(memory->read_some(vdso->start, std::as_writable_bytes(std::span(head))));
    return parse::is_32bit_elf(head);
}

Result<tree::TaskFacts> join(const compel::FrozenProcess &process, Halves &halves) {
    tree::TaskFacts &facts = halves.read;
    facts.pid = process.pid;
    facts.voice = voice_of(process);
    facts.parent_thread = process.parent_thread;
    facts.zombie = process.zombie;
    facts.stopped = process.group_stopped;
    facts.stop_signal = process.stop_signal;
    facts.shared_pending = std::move(halves.shared_pending);
    facts.threads = std::move(halves.asked);
    for (size_t i = 0; i < facts.threads.size(); i++)
        facts.threads[i].status = halves.statuses[i];
    facts.is_32bit = is_32bit(facts);
    if (!facts.zombie)
        TRY(refuse(facts));
    TRY(set_remains_apart(facts));
    return std::move(facts);
}

/// What images say of who is who: ids as the root's pid namespace sees them, 0 for what is outside of it.
Result<void> translate_pids(std::vector<tree::TaskFacts> &tasks, const std::vector<Halves> &halves) {
    const size_t level = halves.front().statuses.front().ns_pid.size(); // of the root, counted from our own
    auto inside = [&](const std::vector<int32_t> &ids) {
        return base::VPid(level && ids.size() >= level ? ids[level - 1] : 0);
    };
    auto below = [&](const std::vector<int32_t> &ids) {
        return std::vector<int32_t>(ids.begin() + static_cast<ptrdiff_t>(std::min(level, ids.size())), ids.end());
    };
    std::map<Pid, base::VPid> known;
    for (size_t i = 0; i < tasks.size(); i++) {
        tree::TaskFacts &task = tasks[i];
        const parse::Status &status = halves[i].statuses.front();
        task.vpid = inside(status.ns_tgid);
        task.vgroup = inside(status.ns_pgid);
        task.vsession = inside(status.ns_sid);
        task.inner = below(status.ns_tgid);
        task.inner_group = below(status.ns_pgid);
        task.inner_session = below(status.ns_sid);
        for (tree::ThreadFacts &thread : task.threads)
            thread.vtid = inside(thread.status.ns_pid);
        if (task.vpid.value == 0)
            return base::unsupported(fmt::format("task {} is not in the pid namespace of the root of the tree, whose "
                                                 "images have no number for it",
                                                 task.pid.value));
        known[task.pid] = task.vpid;
        for (const tree::ThreadFacts &thread : task.threads)
            known[thread.tid] = thread.vtid;
        if (i == 0)
            continue;
        if (!known.contains(task.parent)) // put in from outside: it will be a child of the init
            task.parent = tasks.front().pid;
        task.vparent = known[task.parent];
        if (task.parent_thread.value)
            task.parent_vthread = known[task.parent_thread];
    }
    return {};
}

/// Of threads that have left the descriptors of their process: the first of each table knows what is in it.
Result<void> list_own_tables(std::vector<tree::TaskFacts> &tasks) {
    std::set<uint32_t> known;
    for (tree::TaskFacts &task : tasks)
        for (tree::ThreadFacts &thread : task.threads)
            if (thread.own_table && known.insert(thread.own_table).second) {
                thread.own_fds = TRY(descriptors(TRY(kernel::ProcDir::open(thread.tid)), thread.status));
            }
    return {};
}

// What a thread's next child is born into is the thread's own.
Result<void> find_namespaces_of_children(std::vector<tree::TaskFacts> &tasks) {
    std::map<uint64_t, base::VPid> inits;
    for (const tree::TaskFacts &task : tasks)
        if (!task.inner.empty() && task.inner.back() == 1 && !task.zombie)
            inits.emplace(task.ns[tree::NamespaceKind::Pid], task.vpid);
    for (tree::TaskFacts &task : tasks)
        for (tree::ThreadFacts &thread : task.threads) {
            const uint64_t own = task.ns[tree::NamespaceKind::Pid];
            const uint64_t next =
                thread.tid == task.voice ? task.ns.pid_for_children : kernel::pid_namespace_of_children(thread.tid);
            if (!own || next == own)
                continue;
            thread.pid_namespace_of_children = next;
            const auto init = inits.find(next);
            thread.pid_for_children = init == inits.end() ? base::VPid() : init->second;
        }
    return {};
}

} // namespace

std::string name_of(const tree::TaskFacts &task) {
    return fmt::format("task {} ({})", task.pid.value, task.stat.comm);
}

Result<std::vector<tree::TaskFacts>> collect(const compel::FrozenTree &tree, Depth depth, MappingReader mappings) {
    const auto &processes = tree.processes();
    std::vector<Halves> halves(processes.size());
    auto of_each = [&](auto &&half) -> Result<void> {
        for (size_t i = 0; i < processes.size(); i++)
            TRY_CTX(half(processes[i], halves[i]), fmt::format("task {}", processes[i].pid.value));
        return {};
    };
    // Printing /proc takes the kernel longer than answering the tracer: with many tasks or threads another processor
    // does it meanwhile.
    constexpr size_t kMany = 20;
    size_t threads = 0;
    for (const compel::FrozenProcess &process : processes)
        threads += process.threads.size();
    const auto how = threads > kMany ? std::launch::async | std::launch::deferred : std::launch::deferred;
    auto reading = std::async(how, [&] {
        return of_each([&, depth](auto &process, Halves &half) {
            return read_proc(process, depth, mappings, half.read, half.statuses);
        });
    });
    const Result<void> asked =
        of_each([](auto &process, Halves &half) { return ask_task(process, half.asked, half.shared_pending); });
    TRY(reading.get());
    TRY(asked);
    std::vector<tree::TaskFacts> tasks;
    tasks.reserve(processes.size());
    for (size_t i = 0; i < processes.size(); i++)
        tasks.push_back(TRY_CTX(join(processes[i], halves[i]), fmt::format("task {}", processes[i].pid.value)));
    TRY(translate_pids(tasks, halves));
    TRY(find_namespaces_of_children(tasks));
    assign_shared_ids(tasks);
    TRY(list_own_tables(tasks));
    return tasks;
}

Result<tree::Namespaces> number_namespaces(const std::vector<tree::TaskFacts> &tasks) {
    const base::Pid self(getpid());
    tree::Namespaces namespaces(TRY(kernel::namespaces_of(self)), self);
    for (const tree::TaskFacts &task : tasks)
        namespaces.add(task.ns, task.voice);
    return namespaces;
}

} // namespace dump
