#include "criu/engine/restore/number_clerk.hh"

#include "criu/engine/restore/birthplace.hh"
#include "criu/engine/restore/namespaces.hh"
#include "criu/kernel/io.hh"
#include "criu/resource/namespace/user_namespace.hh"

#include <csignal>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace restore {
namespace {

[[noreturn]] void serve(RestoreContext &context) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (context.rendezvous.coordinator_has_died())
        _exit(1);
    context.rendezvous.serve_numbers([](uint32_t wanted) {
        // Whether it helps shows in the number of the child.
        (void)kernel::write_file(AT_FDCWD, "/proc/sys/kernel/ns_last_pid", std::to_string(wanted - 1));
    });
    _exit(0);
}

} // namespace

bool NumberClerk::is_needed(const RestoreContext &context) {
    return is_numbered_from_outside(context) ||
           std::ranges::any_of(context.checkpoint.numbers.below(),
                               [&](const auto &below) { return context.owners.contains(below.id); });
}

Result<NumberClerk> NumberClerk::start(RestoreContext &context) {
    const base::UniqueFd root(static_cast<int>(syscall(SYS_pidfd_open, context.real_root().value, 0)));
    const base::UniqueFd self(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
    if (!root || !self || setns(root.get(), CLONE_NEWPID) < 0)
        return base::fail_sys("go to the pid namespace of the tree");
    clone_args args{};
    args.exit_signal = SIGCHLD;
    const long pid = clone_helper(
        args, 1, [&](int32_t skip) { return std::vector<int32_t>{free_number(context.checkpoint, skip)}; });
    if (pid == 0)
        serve(context);
    const int code = errno;
    if (setns(self.get(), CLONE_NEWPID) < 0)
        return base::fail_sys("come back from the pid namespace of the tree");
    return pid < 0 ? base::fail_sys(code, "make a process that chooses numbers")
                   : Result<NumberClerk>(NumberClerk(static_cast<pid_t>(pid)));
}

NumberClerk::~NumberClerk() {
    if (!pid_)
        return;
    kill(pid_, SIGKILL);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
}

Result<void> check_numbers(const plan::Checkpoint &checkpoint) {
    const auto owners = TRY(resource::read_owners(checkpoint.images(), below(checkpoint, tree::NamespaceKind::User)));
    const auto owner_of = [&](const tree::Numbers::Below *ns) {
        const auto found = ns ? owners.find(ns->id) : owners.end();
        return found == owners.end() ? 0 : found->second;
    };
    for (const tree::Numbers::Below &each : checkpoint.numbers.below()) {
        const tree::Numbers::Below *outer = &each;
        while (outer && owner_of(outer) == owner_of(&each))
            outer = checkpoint.numbers.find(outer->parent);
        if (outer && owner_of(&each))
            return base::unsupported(
                fmt::format("task {}: of the pid namespaces around its own, more than the outermost belong to another "
                            "user namespace: nobody could choose its numbers there",
                            each.init));
    }
    return {};
}

} // namespace restore
