#include "criu/engine/restore/clone_task.hh"

#include "criu/engine/restore/birthplace.hh"
#include "criu/kernel/io.hh"
#include "criu/parse/status.hh"

#include <fmt/format.h>
#include <ranges>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace restore {
namespace {

std::unexpected<base::Error> not_made(const plan::Node &node) {
    base::Error error = base::Error::sys(fmt::format("create task {}", node.pid));
    if (errno == EEXIST)
        error.hint(fmt::format("the pid {} is in use by another process: end it, or restore in a new pid namespace",
                               node.pid));
    if (errno == EPERM)
        error.hint("choosing a pid needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN");
    if (errno == EINVAL)
        error.hint("the pid may be larger than /proc/sys/kernel/pid_max");
    return base::fail(std::move(error));
}

/// Whether the calling process has these numbers, the innermost first, in its own pid namespace and those around it.
bool has_numbers(const RestoreContext &context, const std::vector<int32_t> &wanted) {
    const auto text = kernel::read_file(context.own_proc.get(), "self/status");
    const auto status = parse::parse_status(text.value_or(std::string()));
    return status && status->ns_pid.size() >= wanted.size() &&
           std::ranges::equal(wanted, status->ns_pid | std::views::reverse | std::views::take(wanted.size()));
}

/// Returns what it has exited with.
int collect(long pid) {
    siginfo_t info{};
    while (waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | __WALL) < 0 && errno == EINTR) {
    }
    return info.si_status;
}

/// One whose outermost number the caller may not choose: number_clerk.hh.
Result<pid_t> clone_by_clerk(const Birth &birth, clone_args args) {
    Rendezvous &meeting = birth.context.rendezvous;
    if (!args.set_tid_size)
        args.set_tid = 0; // a list of no numbers is EINVAL
    pid_t made = -1;
    constexpr int kMostTries = 200;
    TRY(meeting.in_turn([&]() -> Result<void> {
        for (int tries = 0; tries < kMostTries; tries++) {
            TRY(meeting.ask_for_number(static_cast<uint32_t>(birth.wanted.back())));
            const long pid = syscall(SYS_clone3, &args, sizeof args);
            if (pid == 0) {
                const bool right = has_numbers(birth.context, birth.wanted);
                meeting.tell_of_number(right);
                if (!right)
                    _exit(1);
                birth.live();
            }
            if (pid < 0)
                return not_made(birth.node);
            if (TRY(meeting.has_right_number())) {
                made = static_cast<pid_t>(pid);
                return {};
            }
            collect(pid);
        }
        return base::fail(base::ErrorKind::Busy, fmt::format("nobody gets the pid {}: too many processes begin at the "
                                                             "same time, or it is in use",
                                                             birth.wanted.back()));
    }));
    return made;
}

/// The midwife's life: goes to the user namespace and makes the process, as a child of its own parent.
[[noreturn]] void deliver(const Birth &birth, clone_args args) {
    RestoreContext &context = birth.context;
    auto delivered = [&]() -> Result<pid_t> {
        if (setns(context.namespaces.at(birth.midwife).get(), CLONE_NEWUSER) < 0)
            return base::fail_sys("enter the user namespace of its pid namespace");
        context.user_namespace = birth.midwife;
        args.flags |= CLONE_PARENT;
        args.exit_signal = 0; // it is the midwife's
        args.set_tid_size = choosable(context, birth.node);
        return clone_by_clerk(birth, args);
    }();
    if (!delivered)
        context.rendezvous.report(std::move(delivered).error().ctx(fmt::format("create task {}", birth.node.pid)));
    _exit(delivered ? 0 : 1);
}

Result<pid_t> clone_by_midwife(const Birth &birth, clone_args args) {
    RestoreContext &context = birth.context;
    if (args.flags & (CLONE_FILES | CLONE_FS))
        return base::unsupported("it shares its files or directories with its parent, which lives in another user "
                                 "namespace");
    const plan::Node &here = context.topology.nodes[static_cast<size_t>(birth.node.parent)];
    clone_args midwife{};
    midwife.exit_signal = args.exit_signal;
    const long pid = clone_helper(midwife, choosable(context, here),
                                  [&](int32_t skip) { return Birthplace::midwife_numbers(context, here, skip); });
    if (pid < 0)
        return not_made(birth.node);
    if (pid == 0)
        deliver(birth, args);
    if (collect(pid) != 0)
        return base::fail(base::ErrorKind::Died, "the restore was given up"); // it has said why
    return context.seen_by(here, birth.node.pid);
}

} // namespace

Result<pid_t> clone_task(const Birth &birth, clone_args args) {
    if (birth.midwife)
        return clone_by_midwife(birth, args);
    if (args.set_tid_size < birth.wanted.size())
        return clone_by_clerk(birth, args);
    // A number may be taken for a moment: by somebody who has ended and is not collected yet, where others live in the
    // pid namespace (nobody looks there before), or by a process that has just begun and ends at once.
    constexpr int kTries = 200, kPauseUs = 10'000;
    for (int tries = 0;; tries++) {
        const long pid = syscall(SYS_clone3, &args, sizeof args);
        if (pid == 0)
            birth.live();
        if (pid > 0)
            return static_cast<pid_t>(pid);
        if (errno != EEXIST || tries == kTries)
            return not_made(birth.node);
        usleep(kPauseUs);
    }
}

} // namespace restore
