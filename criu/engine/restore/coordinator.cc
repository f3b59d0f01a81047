#include "criu/engine/restore/coordinator.hh"

#include "criu/engine/restore/task.hh"
#include "criu/kernel/interruption.hh"
#include "criu/kernel/io.hh"
#include "criu/parse/stat.hh"

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace restore {
namespace {

/// The operation that an agent reported as failed, in words.
Result<base::Error> explain(const RestoreContext &context, const Rendezvous::AgentFailure &failure) {
    const size_t task_index = failure.list >> 16, thread = failure.list & 0xffff;
    if (task_index >= context.checkpoint.tasks.size())
        return base::Error(base::ErrorKind::System, "a task failed");
    const plan::TaskImage &task = context.checkpoint.tasks[task_index];
    // Compiled again: the tasks' own plans have gone with them. With descriptors, whichever, as the tasks had them: the
    // operations that close them count.
    plan::Surroundings around = context.around;
    around.exe_fd = around.proc_fd = 0;
    if (task.mm.aios_size())
        around.null_fd = 0;
    if (context.request.lazy_pages)
        around.lazy_fd = 0;
    auto program = TRY(plan::compile(context.checkpoint, task, context.spaces[task_index], around, 0));
    if (thread >= program.listings.size() || failure.op >= program.listings[thread].ops.size())
        return base::Error(base::ErrorKind::System, fmt::format("task {} failed", task.pid));
    auto error = base::Error::sys(failure.code, plan::describe(program.listings[thread].ops[failure.op]));
    error.ctx(fmt::format("task {} ({}): thread {}", task.pid, task.core().tc().comm(), failure.tid));
    return error;
}

} // namespace

Result<void> Coordinator::start() {
    // A tool with file capabilities is not dumpable, and then the files of its tasks under /proc are root's.
    prctl(PR_SET_DUMPABLE, 1);
    // Orphans of a failed restore come to us, so that none is left.
    prctl(PR_SET_CHILD_SUBREAPER, !context_->root_is_orphan());
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &old_mask_);
    // What we ignore (SIGPIPE) the tasks would ignore as well.
    for (int number = 1; number <= SIGRTMAX; number++)
        signal(number, SIG_DFL);
    const bool is_child = context_->root_is_child();
    if (!is_child)
        TRY(hold_.prepare(*context_));
    TRY(spawn_root(*context_));
    started_ = true;
    if (context_->has_pid_namespace())
        context_->pids.add(context_->rendezvous.root(),
                           base::VPid(static_cast<pid_t>(context_->checkpoint.root().pid)));
    if (!is_child)
        TRY(hold_.take(*context_));
    return {};
}

Result<void> Coordinator::root_is_alive() const {
    const pid_t root = context_->real_root().value;
    siginfo_t info{};
    // Of a child that we trace the kernel tells stops as well, which were not asked for.
    const bool ended = context_->root_is_child() &&
                       waitid(P_PID, static_cast<id_t>(root), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
                       info.si_pid == root && info.si_code != CLD_TRAPPED && info.si_code != CLD_STOPPED;
    if (!ended && (kill(root, 0) == 0 || errno != ESRCH))
        return {};
    return base::fail(base::ErrorKind::Died, fmt::format("task {} ended while it was being restored", root));
}

// Tasks are not our children: one that dies leaves a zombie to its parent. Looked for only when nothing goes on.
Result<void> Coordinator::all_are_alive() const {
    for (const plan::TaskImage &task : context_->checkpoint.tasks) {
        const base::Pid pid = context_->real_pid(task.pid);
        if (task.dead() || !pid.value)
            continue;
        auto text = kernel::read_file(AT_FDCWD, fmt::format("/proc/{}/stat", pid.value).c_str());
        if (auto stat = parse::parse_stat(text.value_or(std::string())); stat && stat->state == 'Z')
            return base::fail(base::ErrorKind::Died,
                              fmt::format("task {} ended while it was being restored", task.pid));
    }
    return {};
}

Result<void> Coordinator::wait_all(const std::function<void()> &meanwhile) {
    int quiet = 0;
    constexpr int kRoundsOfQuiet = 25; // half a second
    auto outcome = context_->rendezvous.wait_all([&]() -> Result<void> {
        TRY(kernel::check_interrupted());
        TRY(root_is_alive());
        hold_.go_on();
        if (meanwhile)
            meanwhile();
        return ++quiet % kRoundsOfQuiet == 0 ? all_are_alive() : Result<void>{};
    });
    Rendezvous::AgentFailure failure{};
    if (!outcome && context_->rendezvous.agent_failed(failure))
        return base::fail(TRY(explain(*context_, failure)));
    return outcome;
}

Coordinator::~Coordinator() {
    if (!started_ || done_)
        return;
    context_->rendezvous.abort();
    // Every task dies with its parent until the very end, and is traced with EXITKILL from there on.
    if (context_->root_is_child())
        kill(context_->rendezvous.root().value, SIGKILL);
    else
        hold_.end();
    while (waitpid(-1, nullptr, __WALL) > 0 || errno == EINTR) {
    }
}

void Coordinator::done() {
    done_ = true;
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    asked_to_end_ = kernel::take_interruptions();
    sigprocmask(SIG_SETMASK, &old_mask_, nullptr);
}

} // namespace restore
