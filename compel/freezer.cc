#include "compel/freezer.hh"

#include "compel/recovery.hh"
#include "compel/task_listing.hh"

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <fmt/format.h>
#include <fstream>
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

/// The same by the numbers of 32-bit programs. All calls of sockets and of semaphores may come as one (102, 117).
bool ends_with_eintr_32bit(uint64_t nr) {
    constexpr std::array<uint64_t, 20> kCalls{3,   102, 117, 177, 247, 256, 319, 337, 364, 369,
                                              370, 371, 372, 385, 416, 417, 420, 421, 426, 441};
    return std::ranges::find(kCalls, nr) != kCalls.end();
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
    const bool of_kind = is_32bit(regs) ? ends_with_eintr_32bit(regs.orig_rax) : ends_with_eintr(regs.orig_rax);
    if (!cut_off || !of_kind || TRY(has_deliverable_signal(thread)))
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

enum class Seized {
    Gone, ///< it has ended, or is about to
    Now,
    Before, ///< in vfork, when an earlier attempt could not let it go: it is interrupted already
};

/// Whether it is on its way out: killed, though not dead yet.
bool is_ending(Pid pid) {
    const std::string status = slurp(fmt::format("/proc/{}/status", pid.value));
    if (has_ended(status))
        return true;
    constexpr unsigned kExiting = 4; // PF_EXITING
    if (flags_of(pid, pid) & kExiting)
        return true;
    auto pending = [&](std::string_view key) {
        return strtoull(std::string(field(status, key).substr(0, 16)).c_str(), nullptr, 16) >> (SIGKILL - 1) & 1;
    };
    return pending("SigPnd:\t") || pending("ShdPnd:\t");
}

/// Whether it is this program: a dump whose user has been killed gives up in a moment.
bool is_one_of_us(Pid pid) {
    struct stat ours {
    }, theirs{};
    return stat("/proc/self/exe", &ours) == 0 && stat(fmt::format("/proc/{}/exe", pid.value).c_str(), &theirs) == 0 &&
           ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

// The kernel refuses with EPERM a thread that is just ending, and one whose tracer is. A dump that was killed a moment
// ago is such a tracer: it is waited for.
Result<Seized> seize_or_explain(Pid pid, Pid tid, uint64_t options) {
    constexpr int kTries = 400, kPauseUs = 5000;
    for (int tries = 0;; tries++) {
        auto r = seize(tid, options);
        if (r)
            return Seized::Now;
        if (r.error().kind() == base::ErrorKind::Died)
            return base::fail(std::move(r).error());
        const std::string status = slurp(fmt::format("/proc/{}/task/{}/status", pid.value, tid.value));
        if (has_ended(status))
            return base::fail(base::ErrorKind::Died, fmt::format("thread {} has ended", tid.value));
        const Pid tracer(atoi(std::string(field(status, "TracerPid:\t")).c_str()));
        if (tracer.value == getpid())
            return Seized::Before;
        if (r.error().code() == EPERM && tries < kTries &&
            (tracer.value == 0 || is_ending(tracer) || is_one_of_us(tracer))) {
            if (tracer.value == 0 && tries > 2)
                return base::fail(std::move(r).error()); // not allowed, as it seems
            usleep(kPauseUs);
            continue;
        }
        base::Error error = std::move(r).error();
        if (tracer.value > 0)
            error.ctx(fmt::format("task {} is traced by task {} already", pid.value, tracer.value))
                .hint("detach the debugger or tracer first");
        return base::fail(std::move(error));
    }
}

Result<Seized> seize_living(Pid pid, Pid tid, uint64_t options) {
    auto seized = seize_or_explain(pid, tid, options);
    if (!seized && (seized.error().kind() == base::ErrorKind::Died || stat_of(pid, tid).state == 'Z'))
        return Seized::Gone;
    return seized;
}

/// Whether it sleeps in vfork or the like, which no tracer can stop (wait_for_vfork_done of the kernel).
bool is_in_vfork(Pid pid, Pid tid) {
    if (stat_of(pid, tid).state != 'D')
        return false;
    const std::string call = slurp(fmt::format("/proc/{}/task/{}/syscall", pid.value, tid.value));
    const long nr = atol(call.c_str());
    // The last word is where its code is, which alone tells by which table the number is.
    const size_t last = call.rfind(' ');
    constexpr uint64_t kEndOf32 = 1ull << 32;
    constexpr long kClone32 = 120, kVfork32 = 190;
    if (last != std::string::npos && strtoull(call.c_str() + last, nullptr, 16) < kEndOf32)
        return nr == kVfork32 || nr == kClone32 || nr == SYS_clone3;
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
    Seized how;
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
    if (options.put_in)
        std::ranges::copy(options.put_in(), std::back_inserter(queue));
    std::set<Pid> seen;
    ChildFinder finder;
    for (size_t at = 0; at < queue.size(); at++) {
        Pid pid = queue[at];
        if (!seen.insert(pid).second)
            continue;
        Stat stat = stat_of(pid, pid);
        if (!stat.state) {
            if (pid == root)
                return base::fail(
                    base::Error(base::ErrorKind::Died, ESRCH, {fmt::format("there is no task {}", pid.value)}, {}));
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
            if (known.contains(tid))
                continue;
            const Seized how = TRY(seize_living(pid, tid, options.ptrace_options));
            if (how == Seized::Gone)
                continue;
            process.threads.push_back({.tid = tid, .registers = {}});
            added.push_back({it->second, tid, how});
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

void FrozenTree::announce(std::span<const Unstopped> added, const FreezeOptions &options) {
    if (!options.before_stop)
        return;
    std::vector<Pid> tids;
    for (const Unstopped &what : added)
        if (what.how == Seized::Now)
            tids.push_back(what.tid);
    options.before_stop(tids);
}

// Stops everything that runs, until a scan finds nothing that does.
Result<void> FrozenTree::stop_all(Pid root, const FreezeOptions &options) {
    for (;;) {
        const auto added = TRY(seize_new(root, options));
        announce(added, options);
        // A second interrupt of a thread that has stopped by the first would stop it once more when it works for us.
        for (const Unstopped &what : added)
            if (what.how == Seized::Now)
                (void)interrupt(what.tid); // one that died is noticed by the wait
        if (options.before_wait)
            options.before_wait();
        for (const Unstopped &what : added)
            TRY(await_stop(what, options));
        std::erase_if(processes_, [&](auto &p) { return p.pid != root && !p.zombie && p.threads.empty(); });
        if (added.empty())
            return {};
    }
}

// What a dump that was killed has left behind. With it not only registers but also descriptors and mappings would be
// taken for the program's.
Result<void> FrozenTree::let_recover(const FreezeOptions &options) {
    std::vector<std::unique_ptr<AgentSpotter>> spotters;
    std::vector<RecoveringThread> recovering;
    std::vector<FrozenThread *> changed;
    for (FrozenProcess &process : processes_) {
        if (process.threads.empty())
            continue;
        auto spotter = AgentSpotter::open(process.threads.front().tid);
        if (!spotter)
            continue; // it has died
        spotters.push_back(std::make_unique<AgentSpotter>(std::move(*spotter)));
        for (FrozenThread &thread : process.threads)
            if (spotters.back()->inside(thread.registers)) {
                recovering.push_back({StoppedThread(thread.tid), spotters.back().get()});
                changed.push_back(&thread);
            }
    }
    TRY(finish_recovery(std::move(recovering), options.timeout_ms));
    for (FrozenThread *thread : changed)
        thread->registers = TRY(registers_to_go_on(StoppedThread(thread->tid)));
    return {};
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
        TRY(tree.let_recover(options));
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

namespace {

/// The init of a pid namespace below ours ends when everybody in that has been collected, perhaps by parents outside of
/// the tree.
bool is_init_below(base::Pid pid) {
    std::ifstream status(fmt::format("/proc/{}/status", pid.value));
    constexpr std::string_view kKey = "NSpid:";
    for (std::string line; std::getline(status, line);)
        if (line.starts_with(kKey))
            return std::ranges::count(line, '\t') > 1 && line.ends_with("\t1");
    return false;
}

} // namespace

Result<void> FrozenTree::kill() {
    constexpr int kEnds = 10'000, kMayEndLater = 1'000; // ms
    const base::Pid root = processes_.empty() ? base::Pid() : processes_.front().pid;
    std::stable_partition(processes_.begin(), processes_.end(),
                          [](const FrozenProcess &process) { return is_init_below(process.pid); });

    // Children first: a dying parent must not hand its zombies to init before they are counted.
    for (auto it = processes_.rbegin(); it != processes_.rend(); ++it)
        if (!it->zombie)
            ::kill(it->pid.value, SIGKILL);
    for (auto it = processes_.rbegin(); it != processes_.rend(); ++it) {
        const int patience = it->pid != root && is_init_below(it->pid) ? kMayEndLater : kEnds;
        for (size_t i = it->threads.size(); i-- > 0;) // the leader's end is reported when the others are gone
            (void)wait(it->threads[i].tid, patience);
    }
    processes_.clear();
    return {};
}

} // namespace compel
