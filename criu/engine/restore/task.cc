// A task's way while it is still our own program:
//
//     memory that children inherit -> fork the children, setsid in between -> process group -> the rest of its memory
//     -> files -> directories -> the agent
//
// It waits for the others three times: until all processes exist, until all groups are joined, until late files are
// open.
#include "criu/engine/restore/task.hh"

#include "base/guarded.hh"

#include "criu/engine/restore/birthplace.hh"
#include "criu/engine/restore/clone_task.hh"
#include "criu/engine/restore/files.hh"
#include "criu/engine/restore/launch.hh"
#include "criu/engine/restore/memory.hh"
#include "criu/engine/restore/namespaces.hh"
#include "criu/engine/restore/root_tracer.hh"
#include "criu/engine/restore/thread_children.hh"
#include "criu/resource/namespace/user_namespace.hh"

#include <csignal>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace restore {
namespace {

using plan::Node;

bool is_task(const RestoreContext &context, const Node &node) {
    return node.task >= 0 && !context.task(node).dead();
}
bool is_zombie(const RestoreContext &context, const Node &node) {
    return node.task >= 0 && context.task(node).dead();
}

uint64_t exit_signal_of(const RestoreContext &context, const Node &node) {
    if (node.task < 0)
        return SIGCHLD;
    const img::ext_task_core &ext = context.task(node).core().tc().ext();
    return ext.has_exit_signal() ? ext.exit_signal() : static_cast<uint64_t>(SIGCHLD);
}

/// Tables that the child shares with its parent.
uint64_t sharing_flags(const RestoreContext &context, const Node &node) {
    if (node.parent < 0 || !is_task(context, node))
        return 0;
    const Node &above = context.topology.nodes[static_cast<size_t>(node.parent)];
    if (!is_task(context, above))
        return 0;
    const auto &mine = context.task(node).ids, &parents = context.task(above).ids;
    return (mine.files_id() == parents.files_id() ? static_cast<uint64_t>(CLONE_FILES) : 0) |
           (mine.fs_id() == parents.fs_id() ? static_cast<uint64_t>(CLONE_FS) : 0) |
           (node.shares_memory ? static_cast<uint64_t>(CLONE_VM) : 0) |
           (node.shares_memory && mine.sighand_id() == parents.sighand_id() ? static_cast<uint64_t>(CLONE_SIGHAND) : 0);
}

AgentStart live(RestoreContext &context, int index);

/// The processes that share its memory come to their next stop: the stage that it arrives at next, or the agent.
Result<void> let_others_run(RestoreContext &context, const Node &node) {
    for (int child : node.children)
        if (const auto other = context.processes_here.find(child); other != context.processes_here.end())
            TRY(other->second->resume(context.rendezvous));
    return {};
}

Result<void> pass(RestoreContext &context, const Node &node, plan::RendezvousStage stage) {
    if (stage != plan::kAllForked) // to which they come when they are made
        TRY(let_others_run(context, node));
    const auto index = static_cast<int>(&node - context.topology.nodes.data());
    const auto own = node.shares_memory ? context.processes_here.find(index) : context.processes_here.end();
    if (own == context.processes_here.end())
        return context.rendezvous.pass(stage);
    context.rendezvous.arrive();
    own->second->yield(); // its parent goes on when the stage is open
    return {};
}

/// A process of this address space. It has come to its first stop when this returns.
Result<pid_t> spawn_here(RestoreContext &context, int index, const clone_args &args) {
    const Node &node = context.topology.nodes[static_cast<size_t>(index)];
    auto body = [&context, index](Strand &self) {
        context.processes_here[index] = &self;
        return live(context, index);
    };
    TRY_CTX(Strand::start(args, body, context.rendezvous, context.strands), fmt::format("create task {}", node.pid));
    return static_cast<pid_t>(node.pid);
}

Result<void> spawn(RestoreContext &context, int index) {
    const Node &node = context.topology.nodes[static_cast<size_t>(index)];
    const std::vector<int32_t> wanted = context.checkpoint.numbers.everywhere(node.pid);
    uint64_t flags = sharing_flags(context, node);
    if (index == 0)
        flags |= context.namespace_flags;
    Birthplace birthplace;
    if (index != 0)
        TRY_CTX(birthplace.go(context, node, flags), fmt::format("create task {}", node.pid));
    clone_args args{};
    args.flags = flags;
    args.exit_signal = exit_signal_of(context, node);
    if (index == 0 && context.request.sibling) {
        args.flags |= CLONE_PARENT;
        args.exit_signal = 0; // the kernel takes the parent's
    }
    args.set_tid = reinterpret_cast<uint64_t>(wanted.data());
    // The root's is chosen by the tool.
    args.set_tid_size = index == 0 ? wanted.size() : std::min(wanted.size(), choosable(context, node));
    if (node.shares_memory && args.set_tid_size < wanted.size())
        return base::unsupported(
            fmt::format("task {}: it shares memory, and only the tool may choose its number", node.pid));
    const auto born_in = index == 0 ? context.given_namespaces.of_root.find(tree::NamespaceKind::Pid)
                                    : context.given_namespaces.of_root.end();
    base::UniqueFd own;
    if (born_in != context.given_namespaces.of_root.end()) {
        own.reset(open("/proc/self/ns/pid_for_children", O_RDONLY | O_CLOEXEC));
        if (!own || setns(born_in->second.get(), CLONE_NEWPID) < 0)
            return base::fail_sys("go to the pid namespace that was given");
    }
    const auto begin = [&] { jump(live(context, index)); };
    Result<pid_t> pid = node.shares_memory ? spawn_here(context, index, args)
                                           : clone_task({context, node, wanted, birthplace.owner(), begin}, args);
    if (own && setns(own.get(), CLONE_NEWPID) < 0)
        return base::fail_sys("come back from the pid namespace that was given");
    TRY(birthplace.come_back(context));
    const pid_t made = TRY(std::move(pid));
    if (index == 0)
        context.rendezvous.tell_root(base::Pid(made));
    return birthplace.finish(context, node);
}

/// Dies with its parent, so that nothing outlives a restore that is killed.
void tie_to_parent(RestoreContext &context, const Node &node) {
    if (node.parent < 0 && !context.root_is_child())
        return; // it is held: hold.hh
    if (node.parent >= 0 && !is_task(context, context.topology.nodes[static_cast<size_t>(node.parent)]))
        return context.rendezvous.watch_coordinator(); // its first parent is to die soon: see launch()
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (node.parent < 0 && context.has_pid_namespace()) { // from inside its parent cannot be seen
        if (context.rendezvous.coordinator_has_died())
            _exit(1);
        return;
    }
    if (context.born_elsewhere && node.parent >= 0) { // nor there
        pollfd death{context.parent.get(), POLLIN, 0};
        if (poll(&death, 1, 0) > 0 && (death.revents & POLLIN))
            _exit(1);
        return;
    }
    const pid_t parent = node.parent < 0
                             ? context.coordinator
                             : context.seen_by(node, context.topology.nodes[static_cast<size_t>(node.parent)].pid);
    if (getppid() != parent)
        _exit(1);
}

Result<void> fork_children(RestoreContext &context, const Node &node, bool before_setsid) {
    for (int index : in_order_of_birth(context, node)) {
        const Node &child = context.topology.nodes[static_cast<size_t>(index)];
        if (child.before_setsid == before_setsid && !child.parent_thread)
            TRY(spawn(context, index));
    }
    return {};
}

Result<void> fork_children_of(RestoreContext &context, const Node &node, uint32_t thread) {
    for (int index : in_order_of_birth(context, node))
        if (context.topology.nodes[static_cast<size_t>(index)].parent_thread == thread)
            TRY(spawn(context, index));
    return {};
}

/// A group whose leader cannot be seen from inside of the pid namespace one is born into: Birthplace.
Result<void> join_group(const RestoreContext &context, const Node &node) {
    const pid_t group = context.seen_by(node, node.pgid);
    if (!node.pgid || getpgid(0) == group)
        return {};
    if (!group || setpgid(0, group) < 0)
        return base::fail_sys(fmt::format("join process group {}", node.pgid));
    return {};
}

Result<void> make_tree(RestoreContext &context, const Node &node) {
    if (node.adopts)
        prctl(PR_SET_CHILD_SUBREAPER, 1);
    TRY(fork_children(context, node, true));
    if (node.leads_session && setsid() < 0)
        return base::fail_sys("setsid");
    if (node.leads_session && is_task(context, node))
        TRY(lead_session(context, node));
    TRY(fork_children(context, node, false));
    if (is_task(context, node))
        TRY(make_early_threads(context, node,
                               [&](uint32_t thread) { return fork_children_of(context, node, thread); }));
    TRY(make_time_of_children(context, node));
    // Leaders make their groups before anybody joins one: all have done so when all are forked.
    return node.pgid == node.pid ? join_group(context, node) : Result<void>{};
}

bool is_init(const RestoreContext &context, const Node &node) {
    const tree::Numbers::Below *home = context.checkpoint.numbers.find(context.checkpoint.numbers.home_of(node.pid));
    return home && home->init == node.pid;
}

/// From inside no signal ends the init of a pid namespace, and from outside only SIGKILL does.
Result<void> end_init(const plan::TaskImage &zombie, pid_t pid) {
    const auto status = static_cast<int>(zombie.core().tc().exit_code());
    if (!WIFSIGNALED(status))
        return {};
    if (WTERMSIG(status) != SIGKILL)
        return base::unsupported(fmt::format("task {} was the init of a pid namespace and was ended by signal {}: "
                                             "only SIGKILL can be repeated",
                                             zombie.pid, WTERMSIG(status)));
    return kill(pid, SIGKILL) < 0 ? base::fail_sys("end the init of a pid namespace") : Result<void>{};
}

/// Helpers have gone and zombies are dead when this returns; what their ends have queued is forgotten.
Result<void> collect_children(const RestoreContext &context, const Node &node) {
    for (int index : node.children) {
        const Node &child = context.topology.nodes[static_cast<size_t>(index)];
        siginfo_t info;
        const auto id = static_cast<id_t>(context.seen_by(node, child.pid));
        if (is_zombie(context, child) && is_init(context, child))
            TRY(end_init(context.task(child), static_cast<pid_t>(id)));
        if (child.task < 0 && waitid(P_PID, id, &info, WEXITED | __WALL) < 0)
            return base::fail_sys("wait for a helper");
        if (is_zombie(context, child) && waitid(P_PID, id, &info, WEXITED | WNOWAIT | __WALL) < 0)
            return base::fail_sys("wait for a zombie");
    }
    if (node.adopts)
        prctl(PR_SET_CHILD_SUBREAPER, 0);
    sigset_t all;
    sigfillset(&all);
    const timespec now{};
    while (sigtimedwait(&all, nullptr, &now) > 0) {
    }
    return {};
}

[[noreturn]] void die_like(const plan::TaskImage &zombie, bool init) {
    const auto status = static_cast<int>(zombie.core().tc().exit_code());
    if (!WIFSIGNALED(status))
        _exit(WEXITSTATUS(status));
    while (init) // its parent does it
        pause();
    const rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
    signal(WTERMSIG(status), SIG_DFL);
    sigset_t all;
    sigfillset(&all);
    kill(getpid(), WTERMSIG(status));
    sigprocmask(SIG_UNBLOCK, &all, nullptr);
    _exit(1);
}

/// What is made from here on belongs to the tree's root user.
Result<void> settle_in_user_namespace(RestoreContext &context, const Node &node) {
    if (!context.has_user_namespace())
        return {};
    if (context.namespace_flags & CLONE_NEWUSER)
        TRY(resource::become_root_inside());
    tie_to_parent(context, node); // another user's tie is forgotten
    return {};
}

/// A task's parent may be a helper, which lives where its own parent does.
Result<void> settle_in_namespaces(RestoreContext &context, const Node &node) {
    int parent = node.parent;
    while (parent >= 0 && !is_task(context, context.topology.nodes[static_cast<size_t>(parent)]))
        parent = context.topology.nodes[static_cast<size_t>(parent)].parent;
    if (parent < 0)
        return {};
    const plan::TaskImage &task = context.task(node);
    TRY(enter_namespaces(context, task, context.task(context.topology.nodes[static_cast<size_t>(parent)])));
    const auto &all = context.checkpoint.tasks;
    const auto shares = [&](const plan::TaskImage &other) {
        return !other.dead() && other.pid != task.pid && other.ids.fs_id() == task.ids.fs_id();
    };
    return std::ranges::any_of(all, shares) ? enter_mounts(context, task) : Result<void>{};
}

Result<AgentStart> live_on(RestoreContext &context, const Node &node) {
    MemoryCounters counters{.progress = context.request.progress};
    const bool task = is_task(context, node), has_memory = task && !node.shares_memory;
    if (task && !context.namespaces.empty())
        TRY(settle_in_namespaces(context, node));
    TRY(wait_for_mounts(context, node));
    resource::SegmentSet segments; // attached until our memory goes, when all have attached theirs
    if (node.parent < 0) {
        resource::Masters masters;
        if (context.root_waits) {
            TRY(context.given_namespaces.enter(context.request.namespaces));
            TRY(context.rendezvous.pass(plan::kHooked));
            TRY(settle_in_user_namespace(context, node));
            TRY(fill_namespaces(context, segments, masters));
            TRY(context.rendezvous.pass(plan::kFilled));
        }
        TRY(open_files(context, std::move(masters)));
        TRY(create_shared_memory(context));
    }
    if (has_memory)
        TRY(restore_memory(context, node, Part::PassedOn, counters));
    TRY(make_tree(context, node));
    TRY(pass(context, node, plan::kAllForked));
    TRY(join_group(context, node));
    TRY(pass(context, node, plan::kGrouped));
    if (node.task < 0)
        _exit(0);
    TRY(collect_children(context, node));
    if (!task)
        die_like(context.task(node), is_init(context, node));
    if (has_memory)
        TRY(restore_memory(context, node, Part::Own, counters));
    context.rendezvous.count(counters.compared, counters.skipped_cow, counters.restored);
    const Launch launch = TRY(prepare_launch(context, node));
    TRY(pass(context, node, plan::kOpened)); // who shares a table has opened and closed its last file of our own
    if (!context.task(node).early_threads.empty() || !context.processes_here.empty())
        TRY(map_agent(context));
    TRY(let_others_run(context, node));
    return finish_launch(context, node, launch);
}

/// RestoreRequest::process_logs. A log that cannot be made is no reason to fail: what there is to say goes to the
/// other.
void begin_own_log(const RestoreContext &context, const Node &node) {
    if (context.request.process_logs.empty())
        return;
    const std::string name = fmt::format("{}.{}", context.request.process_logs, node.pid);
    base::UniqueFd file(openat(context.request.work_dir_fd, name.c_str(),
                               O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (file)
        context.log.move_to(std::move(file));
    context.log.info(fmt::format("restore: process {}", node.pid));
}

AgentStart live(RestoreContext &context, int index) {
    const Node &node = context.topology.nodes[static_cast<size_t>(index)];
    if (!node.shares_memory) // the log is its parent's, too
        begin_own_log(context, node);
    if (node.parent < 0)
        wait_for_hold(context);
    tie_to_parent(context, node);
    if (is_zombie(context, node)) // it may be ended any time
        prctl(PR_SET_NAME, context.task(node).core().tc().comm().c_str());
    auto outcome = base::guarded([&] { return live_on(context, node); });
    if (outcome)
        return *outcome;
    if (!context.request.process_logs.empty())
        context.log.error("restore: " + outcome.error().message());
    if (!context.rendezvous.given_up())
        context.rendezvous.report(std::move(outcome).error().ctx(fmt::format("task {}", node.pid)));
    _exit(1);
}

} // namespace

Result<void> spawn_root(RestoreContext &context) {
    if (!context.root_is_orphan())
        return spawn(context, 0);
    const pid_t helper = fork();
    if (helper < 0)
        return base::fail_sys("fork");
    if (helper == 0) {
        auto spawned = spawn(context, 0);
        if (!spawned)
            context.rendezvous.report(spawned.error());
        _exit(spawned ? 0 : 1);
    }
    int status = 0;
    while (waitpid(helper, &status, 0) < 0 && errno == EINTR) {
    }
    if (status == 0)
        return {};
    if (context.rendezvous.given_up())
        return context.rendezvous.failure();
    return base::fail(base::ErrorKind::Died, "the process that creates the root task was killed");
}

Arrivals count_arrivals(const RestoreContext &context) {
    Arrivals arrivals;
    for (const Node &node : context.topology.nodes) {
        arrivals.processes++;
        if (!is_task(context, node))
            continue;
        arrivals.tasks++;
        arrivals.threads += static_cast<uint32_t>(context.task(node).threads.size());
    }
    return arrivals;
}

} // namespace restore
