#include "compel/freezer.hh"

#include "base/unique_fd.hh"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace compel {
namespace {

// The freezer lies below the layer of /proc parsers and needs three facts only: threads, children, state.

std::string slurp(const std::string &path) {
    base::UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    std::string text;
    char buffer[4096];
    ssize_t n;
    while (fd && (n = read(fd.get(), buffer, sizeof buffer)) > 0)
        text.append(buffer, static_cast<size_t>(n));
    return text;
}

std::vector<Pid> threads_of(Pid pid) {
    std::vector<Pid> tids;
    std::unique_ptr<DIR, int (*)(DIR *)> dir(opendir(fmt::format("/proc/{}/task", pid.value).c_str()), closedir);
    while (dirent *entry = dir ? readdir(dir.get()) : nullptr)
        if (entry->d_name[0] != '.')
            tids.push_back(Pid(atoi(entry->d_name)));
    std::stable_sort(tids.begin(), tids.end(), [&](Pid a, Pid b) {
        return (a == pid) > (b == pid) ? true : (b == pid) ? false : a < b;
    });
    return tids;
}

struct Stat {
    char state = 0; ///< 0: the thread is gone
    Pid parent;
};

Stat stat_of(Pid pid, Pid tid) {
    std::string text = slurp(fmt::format("/proc/{}/task/{}/stat", pid.value, tid.value));
    size_t close = text.rfind(')'); // the name may hold anything
    Stat stat;
    int parent = 0;
    if (close != std::string::npos && sscanf(text.c_str() + close + 1, " %c %d", &stat.state, &parent) == 2)
        stat.parent = Pid(parent);
    return stat;
}

// One pass over /proc: parents of all processes. For kernels without CONFIG_PROC_CHILDREN.
std::multimap<Pid, Pid> all_children() {
    std::multimap<Pid, Pid> children;
    std::unique_ptr<DIR, int (*)(DIR *)> dir(opendir("/proc"), closedir);
    while (dirent *entry = dir ? readdir(dir.get()) : nullptr)
        if (Pid pid(atoi(entry->d_name)); pid.value > 0)
            children.emplace(stat_of(pid, pid).parent, pid);
    return children;
}

void append_numbers(const std::string &text, std::vector<Pid> &pids) {
    const char *p = text.data(), *end = p + text.size();
    while (p < end) {
        int value = 0;
        auto [next, error] = std::from_chars(p, end, value);
        if (error == std::errc())
            pids.push_back(Pid(value));
        p = next + 1;
    }
}

struct Child {
    Pid pid;
    Pid thread; ///< that has forked it; 0 where only the process is known
};

/// Finds the children of the processes of one scan.
class ChildFinder {
public:
    std::vector<Child> children_of(Pid pid, const std::vector<Pid> &tids) {
        const bool by_thread = access(fmt::format(fmt::runtime(kFormat), pid.value, pid.value).c_str(), F_OK) == 0;
        if (by_thread && !(tids.size() > processes_on_machine() && !has_any(pid)))
            return children_of_threads(pid, tids);
        std::vector<Child> children;
        auto [from, to] = all().equal_range(pid);
        for (auto it = from; it != to; ++it)
            children.push_back({it->second, Pid(0)});
        return children;
    }

private:
    static constexpr const char *kFormat = "/proc/{}/task/{}/children";

    /// Of a process with more threads than there are processes: one pass over these takes less time than asking every
    /// thread, and mostly tells that there is nothing to ask for.
    static size_t processes_on_machine() {
        struct stat proc {};
        return stat("/proc", &proc) == 0 ? proc.st_nlink : SIZE_MAX;
    }
    bool has_any(Pid pid) { return all().contains(pid); }
    const std::multimap<Pid, Pid> &all() {
        if (!all_)
            all_ = all_children();
        return *all_;
    }
    static std::vector<Child> children_of_threads(Pid pid, const std::vector<Pid> &tids) {
        std::vector<Child> children;
        for (Pid tid : tids) {
            std::vector<Pid> found;
            append_numbers(slurp(fmt::format(fmt::runtime(kFormat), pid.value, tid.value)), found);
            for (Pid child : found)
                children.push_back({child, tid});
        }
        return children;
    }

    std::optional<std::multimap<Pid, Pid>> all_;
};

// What the kernel ends with EINTR after any stop, although nothing happened (signal(7), "Interruption of system calls
// by stop signals"). Socket calls are here for sockets with a timeout.
bool ends_with_eintr(uint64_t nr) {
    switch (nr) {
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
    case 441: // epoll_pwait2
    case SYS_rt_sigtimedwait:
    case SYS_semop:
    case SYS_semtimedop:
    case SYS_io_getevents:
    case 333: // io_pgetevents
    case 426: // io_uring_enter
    case SYS_read:
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_recvmmsg:
    case SYS_accept:
    case SYS_accept4:
    case SYS_sendto:
    case SYS_sendmsg:
        return true;
    default:
        return false;
    }
}

Result<bool> has_deliverable_signal(const StoppedThread &thread) {
    uint64_t mask = TRY(thread.signal_mask());
    for (bool shared : {false, true})
        for (const siginfo_t &info : TRY(thread.pending_signals(shared)))
            if (info.si_signo > 0 && !(mask >> (info.si_signo - 1) & 1))
                return true;
    return false;
}

// A real signal explains the EINTR, and its handler may count on it: then it stays.
Result<Registers> registers_to_go_on(const StoppedThread &thread) {
    Registers regs = TRY(thread.registers());
    bool cut_off = static_cast<int64_t>(regs.orig_rax) >= 0 && static_cast<int64_t>(regs.rax) == -EINTR;
    if (!cut_off || !ends_with_eintr(regs.orig_rax) || TRY(has_deliverable_signal(thread)))
        return regs;
    constexpr int64_t kRestartNoIntr = -513;
    regs.rax = static_cast<uint64_t>(kRestartNoIntr);
    TRY(thread.set_registers(regs));
    return regs;
}

/// What follows a key of /proc/.../status; empty if it is not there.
std::string_view field(std::string_view status, std::string_view key) {
    const size_t at = status.find(key);
    return at == std::string_view::npos ? std::string_view() : status.substr(at + key.size());
}

bool has_ended(const std::string &status) {
    const std::string_view state = field(status, "State:\t");
    return state.empty() || state[0] == 'Z' || state[0] == 'X';
}

// The kernel refuses with EPERM a thread that is just ending, and one whose tracer is. A dump that was killed a moment
// ago is such a tracer: it is waited for.
Result<void> seize_or_explain(Pid pid, Pid tid, uint64_t options) {
    constexpr int kTries = 200, kPauseUs = 5000;
    for (int tries = 0;; tries++) {
        auto r = seize(tid, options);
        if (r || r.error().kind() == base::ErrorKind::Died)
            return r;
        const std::string status = slurp(fmt::format("/proc/{}/task/{}/status", pid.value, tid.value));
        if (has_ended(status))
            return base::fail(base::ErrorKind::Died, fmt::format("thread {} has ended", tid.value));
        const int tracer = atoi(std::string(field(status, "TracerPid:\t")).c_str());
        if (tracer == getpid())
            return {}; // one in vfork, that could not be let go when it had not stopped yet
        if (r.error().code() == EPERM && tries < kTries &&
            (tracer == 0 || has_ended(slurp(fmt::format("/proc/{}/status", tracer))))) {
            if (tracer == 0 && tries > 2)
                return r; // not allowed, as it seems
            usleep(kPauseUs);
            continue;
        }
        base::Error error = std::move(r).error();
        if (tracer > 0)
            error.ctx(fmt::format("task {} is traced by task {} already", pid.value, tracer))
                .hint("detach the debugger or tracer first");
        return base::fail(std::move(error));
    }
}

/// False: it has ended, or is about to.
Result<bool> seize_living(Pid pid, Pid tid, uint64_t options) {
    auto seized = seize_or_explain(pid, tid, options);
    if (!seized && (seized.error().kind() == base::ErrorKind::Died || stat_of(pid, tid).state == 'Z'))
        return false;
    TRY(std::move(seized));
    return true;
}

/// Whether it sleeps in vfork or the like, which no tracer can stop (wait_for_vfork_done of the kernel).
bool is_in_vfork(Pid pid, Pid tid) {
    if (stat_of(pid, tid).state != 'D')
        return false;
    const long nr = atol(slurp(fmt::format("/proc/{}/task/{}/syscall", pid.value, tid.value)).c_str());
    return nr == SYS_vfork || nr == SYS_clone || nr == SYS_clone3;
}

/// Errors: Busy for a thread in vfork, which its child holds there.
Result<WaitStatus> wait_for_stop(Pid pid, Pid tid, int timeout_ms) {
    constexpr int kFirstLook = 20;
    auto status = wait_interrupted(tid, timeout_ms < 0 ? kFirstLook : std::min(kFirstLook, timeout_ms));
    auto timed_out = [&] { return !status && status.error().code() == ETIMEDOUT; };
    if (timed_out() && is_in_vfork(pid, tid))
        return base::fail(
            std::move(base::Error(base::ErrorKind::Busy, fmt::format("thread {} waits in vfork", tid.value))
                          .hint("its child neither ends nor becomes another program")));
    if (timed_out())
        status = wait_interrupted(tid, timeout_ms);
    if (timed_out())
        return base::fail(std::move(std::move(status).error().hint(fmt::format(
            "it may be in uninterruptible sleep, for example on a dead network file system, or the machine is too "
            "busy for this time; see /proc/{}/stack",
            tid.value))));
    return status;
}

} // namespace

struct FrozenTree::Unstopped {
    size_t process; ///< index in processes_
    Pid tid;
};

// Finds processes and threads that are not seized yet, and seizes them.
Result<std::vector<FrozenTree::Unstopped>> FrozenTree::seize_new(Pid root, const FreezeOptions &options) {
    std::map<Pid, Pid> forked_by;
    std::set<Pid> known;
    std::map<Pid, size_t> index;
    for (size_t i = 0; i < processes_.size(); i++) {
        index[processes_[i].pid] = i;
        for (auto &thread : processes_[i].threads)
            known.insert(thread.tid);
    }
    std::vector<Unstopped> added;
    std::vector<Pid> queue{root};
    std::set<Pid> seen;
    ChildFinder finder;
    for (size_t at = 0; at < queue.size(); at++) {
        Pid pid = queue[at];
        if (!seen.insert(pid).second)
            continue;
        Stat stat = stat_of(pid, pid);
        if (!stat.state) {
            if (pid == root)
                return base::fail(base::ErrorKind::Died, fmt::format("there is no task {}", pid.value));
            seen.erase(pid);
            continue;
        }
        auto tids = threads_of(pid);
        auto [it, is_new] = index.try_emplace(pid, processes_.size());
        if (is_new)
            processes_.push_back({.pid = pid, .parent = stat.parent});
        FrozenProcess &process = processes_[it->second];
        process.parent_thread = forked_by[pid];
        process.zombie = (stat.state == 'Z' || stat.state == 'X') && tids.size() <= 1;
        if (process.zombie) {
            process.threads.clear();
            continue;
        }
        process.leader_ended = stat.state == 'Z' || stat.state == 'X';
        if (process.leader_ended)
            std::erase(tids, pid);
        for (Pid tid : tids) {
            if (known.contains(tid) || !TRY(seize_living(pid, tid, options.ptrace_options)))
                continue;
            process.threads.push_back({.tid = tid, .registers = {}});
            added.push_back({it->second, tid});
        }
        for (Child child : finder.children_of(pid, tids)) {
            queue.push_back(child.pid);
            forked_by[child.pid] = child.thread == pid ? Pid(0) : child.thread;
        }
    }
    // Zombies may have been collected by parents that still ran, and processes may have ended, since an earlier scan.
    for (FrozenProcess &process : processes_)
        if (process.pid != root && !seen.contains(process.pid))
            process.zombie = false, process.threads.clear();
    return added;
}

Result<void> FrozenTree::await_stop(const Unstopped &what, const FreezeOptions &options) {
    FrozenProcess &process = processes_[what.process];
    auto thread = std::ranges::find(process.threads, what.tid, &FrozenThread::tid);
    if (thread == process.threads.end())
        return {};
    auto status = wait_for_stop(process.pid, what.tid, options.timeout_ms);
    if (!status && status.error().kind() == base::ErrorKind::Died) {
        process.threads.erase(thread);
        return {};
    }
    const WaitStatus stop = TRY(std::move(status));
    if (stop.is_group_stop()) {
        process.group_stopped = true;
        process.stop_signal = stop.signal();
    }
    thread->registers = TRY(registers_to_go_on(StoppedThread(what.tid)));
    if (auto dispatch = syscall_dispatch(what.tid)) {
        if (options.suspend_dispatch)
            TRY(set_syscall_dispatch(what.tid, {}));
        thread->dispatch = dispatch;
    }
    return {};
}

// Stops everything that runs, until a scan finds nothing that does.
Result<void> FrozenTree::stop_all(Pid root, const FreezeOptions &options) {
    for (;;) {
        const auto added = TRY(seize_new(root, options));
        for (const Unstopped &what : added)
            (void)interrupt(what.tid); // one that died is noticed by the wait
        for (const Unstopped &what : added)
            TRY(await_stop(what, options));
        std::erase_if(processes_, [&](auto &p) { return p.pid != root && !p.zombie && p.threads.empty(); });
        if (added.empty())
            return {};
    }
}

Result<FrozenTree> FrozenTree::freeze(Pid root, const FreezeOptions &options) {
    // A parent in vfork sleeps until its child has found another program, and a child that we have stopped will not:
    // all go on for a moment.
    constexpr int kFirstPauseUs = 500, kLongestPauseUs = 20'000;
    const auto began = std::chrono::steady_clock::now();
    for (int pause_us = kFirstPauseUs;; pause_us = std::min(2 * pause_us, kLongestPauseUs)) {
        FrozenTree tree;
        auto stopped = tree.stop_all(root, options);
        const bool again = !stopped && stopped.error().kind() == base::ErrorKind::Busy &&
                           (options.timeout_ms < 0 ||
                            std::chrono::steady_clock::now() - began < std::chrono::milliseconds(options.timeout_ms));
        if (again) {
            TRY(tree.thaw());
            usleep(static_cast<useconds_t>(pause_us));
            continue;
        }
        TRY(std::move(stopped));
        if (tree.processes_.empty() || tree.processes_[0].zombie || tree.processes_[0].threads.empty())
            return base::unsupported(fmt::format("task {} has ended already (it is a zombie)", root.value));
        return tree;
    }
}

Result<void> FrozenTree::thaw() {
    Result<void> outcome;
    for (auto &process : processes_)
        for (auto &thread : process.threads) {
            if (thread.dispatch)
                (void)set_syscall_dispatch(thread.tid, *thread.dispatch); // only one that died cannot have it
            if (auto r = StoppedThread(thread.tid).detach(); !r && r.error().kind() != base::ErrorKind::Died)
                outcome = std::move(r);
        }
    processes_.clear();
    return outcome;
}

Result<void> FrozenTree::leave_stopped() {
    for (auto &process : processes_)
        if (!process.zombie && ::kill(process.pid.value, SIGSTOP) < 0)
            return base::fail_sys(fmt::format("stop task {}", process.pid.value));
    return thaw();
}

Result<void> FrozenTree::kill() {
    // Children first: a dying parent must not hand its zombies to init before they are counted.
    for (auto it = processes_.rbegin(); it != processes_.rend(); ++it)
        if (!it->zombie)
            ::kill(it->pid.value, SIGKILL);
    for (auto it = processes_.rbegin(); it != processes_.rend(); ++it)
        for (size_t i = it->threads.size(); i-- > 0;) // the leader's end is reported when the others are gone
            (void)wait(it->threads[i].tid, 10'000);
    processes_.clear();
    return {};
}

} // namespace compel
