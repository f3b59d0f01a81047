#include "criu/engine/restore/birthplace.hh"

#include "criu/resource/namespace/time_of_children.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sched.h>
#include <sched.h>
#include <set>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace restore {
namespace {

using plan::Node;

constexpr int32_t kHighest = 32767; // of any kernel

bool is_taken(const plan::Checkpoint &checkpoint, uint32_t number) {
    return std::ranges::any_of(checkpoint.tasks, [&](const plan::TaskImage &task) {
        return task.pgid == number || task.sid == number ||
               std::ranges::find(task.threads, number, &plan::ThreadImage::tid) != task.threads.end();
    });
}

bool is_alive(const RestoreContext &context, const Node &node) {
    return node.task >= 0 && !context.task(node).dead();
}

/// Number of the time namespace of a task's children, where that is none of its own; else 0.
uint32_t time_of_children(const RestoreContext &context, const Node &node) {
    return is_alive(context, node) ? context.task(node).core().tc().ext().time_for_children() : 0;
}

bool is_born_into_other_time(const RestoreContext &context, const Node &node, const Node &child) {
    const uint32_t next = time_of_children(context, node);
    return next && is_alive(context, child) && context.task(child).ids.time_ns_id() == next;
}

const Node &parent_of(const RestoreContext &context, const Node &child) {
    return context.topology.nodes[static_cast<size_t>(child.parent)];
}

/// Numbers that nobody of the tree has, in a namespace and in all around it, the innermost first.
std::vector<int32_t> free_numbers(const plan::Checkpoint &checkpoint, const tree::Numbers::Below *home, int32_t skip) {
    std::vector<int32_t> free;
    for (; home; home = checkpoint.numbers.find(home->parent)) {
        std::set<uint32_t> taken;
        for (const auto &[number, inner] : home->inner)
            taken.insert(inner);
        int32_t number = kHighest - skip;
        while (taken.contains(static_cast<uint32_t>(number)))
            number--;
        free.push_back(number);
    }
    free.push_back(free_number(checkpoint, skip));
    return free;
}

/// How many of the numbers in a namespace and in those around it the caller may choose.
size_t choosable_in(const RestoreContext &context, const tree::Numbers::Below *home) {
    size_t count = 0;
    for (; home; home = context.checkpoint.numbers.find(home->parent), count++) {
        const auto owner = context.owners.find(home->id);
        if (context.user_namespace && (owner == context.owners.end() || owner->second != context.user_namespace))
            return count;
    }
    return context.user_namespace || is_numbered_from_outside(context) ? count : count + 1;
}

/// A proc file system shows the namespace of who makes it: a process that is born there, and ends. It has a number that
/// is nobody's, as others are made meanwhile.
Result<base::UniqueFd> make_proc_inside(RestoreContext &context, const Node &here, const tree::Numbers::Below &home,
                                        const std::string &options) {
    const base::UniqueFd init(static_cast<int>(syscall(SYS_pidfd_open, context.seen_by(here, home.init), 0)));
    const base::UniqueFd ours(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
    if (!init || !ours || setns(init.get(), CLONE_NEWPID) < 0)
        return base::fail_sys("go to the pid namespace");
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return base::fail_sys("pipe");
    const base::UniqueFd read_end(ends[0]), write_end(ends[1]);
    clone_args args{};
    args.flags = CLONE_FILES | CLONE_VFORK; // what it opens is ours
    const long pid = clone_helper(args, choosable_in(context, &home),
                                  [&](int32_t skip) { return free_numbers(context.checkpoint, &home, skip); });
    if (pid == 0) {
        auto made = resource::mounts::make_proc(options);
        const int answer = made ? made->release() : -made.error().code();
        _exit(write(write_end.get(), &answer, sizeof answer) == sizeof answer ? 0 : 1);
    }
    const int code = errno;
    if (setns(ours.get(), CLONE_NEWPID) < 0)
        return base::fail_sys("come back from the pid namespace");
    if (pid < 0)
        return base::fail_sys(code, "make a process in the pid namespace");
    siginfo_t info;
    while (waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | __WALL) < 0 && errno == EINTR) {
    }
    int answer = -EIO;
    if (info.si_status != 0 || read(read_end.get(), &answer, sizeof answer) != sizeof answer || answer < 0)
        return base::fail_sys(-answer, "make a proc file system");
    return base::UniqueFd(answer);
}

Result<void> attach_mounts(RestoreContext &context, const Node &here, const tree::Numbers::Below &home) {
    base::UniqueFd proc;
    for (const resource::mounts::LaterMount &later : context.later_mounts) {
        if (later.awaits != home.id)
            continue;
        if (!proc)
            proc = TRY(make_proc_inside(context, here, home, later.options));
        TRY_CTX(resource::mounts::attach_later(later, proc.get()), later.name);
    }
    return {};
}

} // namespace

long clone_helper(clone_args args, size_t choosable, const std::function<std::vector<int32_t>(int32_t skip)> &numbers) {
    constexpr int32_t kMostTries = 100;
    long pid = -1;
    for (int32_t tries = 0; pid < 0 && tries < kMostTries; tries++) {
        const std::vector<int32_t> wanted = numbers(tries);
        args.set_tid_size = std::min(wanted.size(), choosable);
        args.set_tid = args.set_tid_size ? reinterpret_cast<uint64_t>(wanted.data()) : 0; // one of no numbers is EINVAL
        pid = syscall(SYS_clone3, &args, sizeof args);
        if (pid < 0 && errno != EEXIST)
            break;
    }
    return pid;
}

int32_t free_number(const plan::Checkpoint &checkpoint, int32_t skip) {
    int32_t number = kHighest - skip;
    while (is_taken(checkpoint, static_cast<uint32_t>(number)))
        number--;
    return number;
}

bool is_numbered_from_outside(const RestoreContext &context) {
    return context.has_user_namespace() && !context.has_pid_namespace();
}

size_t choosable(const RestoreContext &context, const Node &child) {
    const tree::Numbers &numbers = context.checkpoint.numbers;
    return choosable_in(context, numbers.find(numbers.home_of(child.pid)));
}

std::vector<int32_t> Birthplace::midwife_numbers(const RestoreContext &context, const Node &here, int32_t skip) {
    const tree::Numbers &numbers = context.checkpoint.numbers;
    return free_numbers(context.checkpoint, numbers.find(numbers.home_of(here.pid)), skip);
}

std::vector<int> in_order_of_birth(const RestoreContext &context, const Node &node) {
    const tree::Numbers &numbers = context.checkpoint.numbers;
    const uint32_t here = numbers.home_of(node.pid);
    auto rank = [&](int index) {
        const Node &child = context.topology.nodes[static_cast<size_t>(index)];
        const tree::Numbers::Below *home = numbers.find(numbers.home_of(child.pid));
        if (is_born_into_other_time(context, node, child))
            return 4;
        if (child.task < 0)
            return 0;
        return !home || home->id == here ? 1 : home->init == child.pid ? 2 : 3;
    };
    std::vector<int> order = node.children;
    if (numbers.any() || time_of_children(context, node))
        std::ranges::stable_sort(order, {}, rank);
    return order;
}

Result<void> make_time_of_children(RestoreContext &context, const Node &node) {
    const uint32_t id = time_of_children(context, node);
    if (!id || context.time_made_by == node.pid)
        return {};
    context.time_made_by = node.pid;
    return resource::make_time_of_children(context.checkpoint.images(), id, context.own_proc.get());
}

Result<void> Birthplace::go(RestoreContext &context, const Node &child, uint64_t &flags) {
    const Node &here = parent_of(context, child);
    const tree::Numbers &numbers = context.checkpoint.numbers;
    if (is_born_into_other_time(context, here, child))
        TRY(make_time_of_children(context, here));
    else if (context.time_made_by == here.pid && is_alive(context, child))
        return base::unsupported("no order of forks puts it into its time namespace");
    context.born_elsewhere = false;
    if (!numbers.any())
        return {};
    TRY(join_its_group(context, here, child));
    const tree::Numbers::Below *home = numbers.find(numbers.home_of(child.pid));
    if (!home || home->id == numbers.home_of(here.pid))
        return {};
    context.born_elsewhere = true;
    if (context.parent_is != here.pid) {
        context.parent.reset(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
        context.parent_is = here.pid;
    }
    if (home->init != child.pid)
        return enter(context, here, *home);
    newborn_ = numbers.index_of(home->id);
    if (const auto owner = context.owners.find(home->id);
        owner != context.owners.end() && owner->second != context.user_namespace)
        owner_ = owner->second;
    flags |= CLONE_NEWPID;
    return {};
}

/// Who cannot see the leader of its group has to be born as a member.
Result<void> Birthplace::join_its_group(RestoreContext &context, const Node &here, const Node &child) {
    if (!child.pgid || context.seen_by(child, child.pgid))
        return {};
    const pid_t group = context.seen_by(here, child.pgid), now = getpgid(0);
    if (group == now)
        return {};
    // The leader makes the group when it has forked its own children.
    constexpr int kMostRounds = 3000;
    for (int round = 0; !group || setpgid(0, group) < 0; round++) {
        if (!group || round == kMostRounds || context.rendezvous.given_up())
            return base::fail_sys(fmt::format("lend it its process group {}", child.pgid));
        usleep(10'000);
    }
    group_ = now;
    return {};
}

Result<void> Birthplace::enter(RestoreContext &context, const Node &here, const tree::Numbers::Below &home) {
    TRY(context.rendezvous.wait_born(context.checkpoint.numbers.index_of(home.id)));
    const base::UniqueFd init(static_cast<int>(syscall(SYS_pidfd_open, context.seen_by(here, home.init), 0)));
    if (!init || setns(init.get(), CLONE_NEWPID) < 0)
        return base::fail_sys("go to its pid namespace");
    away_ = true;
    return {};
}

Result<void> Birthplace::come_back(const RestoreContext &context) {
    if (away_ && setns(context.parent.get(), CLONE_NEWPID) < 0) // our own pidfd
        return base::fail_sys("come back from the pid namespace of a child");
    if (group_ && setpgid(0, group_) < 0)
        return base::fail_sys(fmt::format("go back to process group {}", group_));
    return {};
}

Result<void> Birthplace::finish(RestoreContext &context, const Node &child) {
    if (!newborn_)
        return {};
    const tree::Numbers::Below &home = context.checkpoint.numbers.below()[*newborn_];
    TRY_CTX(attach_mounts(context, parent_of(context, child), home),
            fmt::format("the mounts that show the pid namespace of task {}", child.pid));
    context.rendezvous.tell_born(*newborn_);
    return {};
}

Result<void> wait_for_mounts(RestoreContext &context, const Node &node) {
    const tree::Numbers &numbers = context.checkpoint.numbers;
    const tree::Numbers::Below *home = numbers.find(numbers.home_of(node.pid));
    return home && home->init == node.pid ? context.rendezvous.wait_born(numbers.index_of(home->id)) : Result<void>{};
}

} // namespace restore
