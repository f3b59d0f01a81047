#include "criu/engine/restore/launch.hh"

#include "compel/blob.hh"
#include "criu/engine/restore/files.hh"
#include "criu/engine/restore/lazy_link.hh"
#include "criu/engine/restore/namespaces.hh"
#include "criu/engine/restore/proc_files.hh"
#include "criu/plan/numbers.hh"
#include "criu/resource/namespace/user_namespace.hh"

#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace restore {
namespace {

/// Shares a descriptor table with its parent: the parent's work is done for both.
bool borrows_table(const RestoreContext &context, const plan::Node &node) {
    if (node.parent < 0)
        return false;
    const plan::Node &above = context.topology.nodes[static_cast<size_t>(node.parent)];
    return above.task >= 0 && !context.task(above).dead() &&
           context.task(above).ids.files_id() == context.task(node).ids.files_id();
}

void *map_at(uint64_t address, uint64_t size) {
    return mmap(reinterpret_cast<void *>(address), size, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
}

Result<void> map_program(const plan::Program &program) {
    // Not what lies between the two: whoever counts address space or data counts it (ulimit -v, ulimit -d).
    void *data = map_at(program.base, base::page_up(program.bytes.size()));
    if (data == MAP_FAILED || map_at(program.stacks.start, program.stacks.end - program.stacks.start) == MAP_FAILED)
        return base::fail_sys("map the agent's plan");
    std::memcpy(data, program.bytes.data(), program.bytes.size());
    return {};
}

/// Libc's own registration lies in memory that is about to go: the kernel would kill us at the next preemption.
void forget_libc_registrations() {
    if (__rseq_size > 0) {
        constexpr int kUnregister = 1;
        constexpr unsigned kOldSize = 32;
        auto *area = static_cast<char *>(__builtin_thread_pointer()) + __rseq_offset;
        if (syscall(SYS_rseq, area, kOldSize, kUnregister, RSEQ_SIG) < 0)
            syscall(SYS_rseq, area, __rseq_size, kUnregister, RSEQ_SIG);
    }
    syscall(SYS_set_robust_list, nullptr, 24);
    // Libc takes a signal of its own when the first thread is made; sigaction(3) hides it.
    const uint64_t default_action[4] = {};
    for (int number = 1; number <= 64; number++)
        syscall(SYS_rt_sigaction, number, default_action, nullptr, 8);
}

/// Opens something for the agent, above all descriptors that are placed or closed.
Result<int> keep_open(const RestoreContext &context, const char *path) {
    base::UniqueFd fd(open(path, O_RDONLY | O_CLOEXEC));
    const int kept = fd ? fcntl(fd.get(), F_DUPFD_CLOEXEC, context.keep_base()) : -1;
    if (kept < 0)
        return base::fail_sys(fmt::format("open {}", path));
    return kept;
}

Result<int> keep_namespace(const RestoreContext &context, uint32_t id) {
    const auto found = context.namespaces.find(id);
    const int kept =
        found == context.namespaces.end() ? -1 : fcntl(found->second.get(), F_DUPFD_CLOEXEC, context.keep_base());
    return kept < 0 ? base::fail_sys("keep its user namespace") : Result<int>(kept);
}

/// The change of users cuts the tie to the parent: tie_to_parent().
Result<void> change_user_namespace(RestoreContext &context, const Launch &launch, uint32_t id) {
    const pid_t parent = getppid();
    TRY(take_on_user_namespace(launch.outside, *launch.user_fd));
    context.user_namespace = id;
    close(*launch.user_fd);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    return getppid() == parent ? Result<void>{} : base::fail(base::ErrorKind::Died, "its parent has ended");
}

} // namespace

Result<void> map_agent(RestoreContext &context) {
    if (context.agent_is_mapped)
        return {};
    const plan::Arena &arena = context.around.arena;
    auto blob = compel::agent_blob();
    const uint64_t code_size = base::page_up(blob.size());
    void *code = map_at(arena.code(), code_size);
    if (code == MAP_FAILED)
        return base::fail_sys("map the agent");
    std::memcpy(code, blob.data(), blob.size());
    if (mprotect(code, code_size, PROT_READ | PROT_EXEC) < 0)
        return base::fail_sys("make the agent executable");
    context.agent_is_mapped = true;
    return {};
}

namespace {

/// For the operations on memory, which are done once for all that share it.
Result<void> keep_for_memory(RestoreContext &context, const plan::TaskImage &task, plan::Surroundings &around) {
    if (task.memory_of)
        return {};
    // Above all stashed descriptors: nobody closes it but the agent.
    around.exe_fd = fcntl(context.stash.at(task.mm.exe_file_id()), F_DUPFD_CLOEXEC, context.keep_base());
    if (around.exe_fd < 0)
        return base::fail_sys("keep the program's descriptor");
    if (task.mm.aios_size())
        around.null_fd = TRY(keep_open(context, "/dev/null"));
    if (context.lazy)
        around.lazy_fd = TRY(context.lazy->hand_over(task.pid, context.keep_base(), context.rendezvous));
    return {};
}

} // namespace

Result<Launch> prepare_launch(RestoreContext &context, const plan::Node &node) {
    const plan::TaskImage &task = context.task(node);
    plan::number_as_inside(context.own_copy, static_cast<size_t>(node.task)); // nobody is forked any more
    Launch launch{.around = context.around, .program = {}, .outside = task.core().thread_core().creds(), .user_fd = {}};
    const uint32_t user = task.ids.user_ns_id(), home = context.checkpoint.root().ids.user_ns_id();
    if (user != home)
        plan::own_as_inside(context.own_copy, static_cast<size_t>(node.task),
                            TRY(resource::owner_maps_below(context.checkpoint.images(), user, home)),
                            context.user_namespace == user);
    TRY(restore_proc_files(task));
    TRY(enter_mounts(context, task));
    plan::Surroundings &around = launch.around;
    TRY(keep_for_memory(context, task, around));
    if (context.checkpoint.has_late_files && !borrows_table(context, node))
        around.proc_fd = TRY(keep_open(context, "/proc"));
    for (const uint32_t id : plan::own_directories(task)) {
        const int kept = fcntl(context.stash.at(id), F_DUPFD_CLOEXEC, context.keep_base());
        if (kept < 0)
            return base::fail_sys("keep the directory of a thread");
        around.directories.emplace(id, kept);
    }
    TRY(restore_directories(context, task)); // a chroot may have no /proc
    launch.program = TRY(
        plan::compile(context.checkpoint, task, context.space(node), around, static_cast<uint32_t>(node.task) << 16));
    for (const plan::Listing &listing : launch.program.listings)
        TRY(plan::validate(listing, around.arena));
    if (user != (context.user_namespace ? context.user_namespace : home))
        launch.user_fd = TRY(keep_namespace(context, user));
    // From here on our own low descriptors, the log among them, may be replaced by the task's.
    context.log.set_level(base::LogLevel::None);
    return launch;
}

Result<AgentStart> finish_launch(RestoreContext &context, const plan::Node &node, const Launch &launch) {
    const plan::TaskImage &task = context.task(node);
    if (context.rendezvous.watches_coordinator()) {
        // The child of a helper has its lasting parent now: it has collected the helper.
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (context.rendezvous.coordinator_has_died())
            _exit(1); // perhaps the parent has as well, before it could end us
    }
    context.directories = launch.around.directories;
    for (const uint32_t tid : task.early_threads) // those with descriptors of their own put them in place
        if (const auto thread = context.threads_here.find(tid); thread != context.threads_here.end())
            TRY(thread->second->resume(context.rendezvous));
    if (!borrows_table(context, node)) {
        context.namespaces.clear(); // everybody is where he belongs
        context.later_mounts.clear();
        context.parent.reset();
        context.own_proc.reset();
        TRY(place_files(context, node, task.ids.files_id(), launch.around.proc_fd));
        close_foreign(context, task.ids.files_id());
        TRY(restore_locks(context, task));
    }
    if (launch.user_fd)
        TRY(change_user_namespace(context, launch, task.ids.user_ns_id()));
    TRY(map_agent(context));
    // Our own threads have left a list of semaphore adjustments, empty, where the task had none.
    if (task.early_threads.empty() && unshare(CLONE_SYSVSEM) < 0)
        return base::fail_sys("unshare(CLONE_SYSVSEM)");
    TRY(map_program(launch.program));
    forget_libc_registrations();
    return AgentStart{launch.around.arena.code() + compel::agent_header().restore, launch.program.start,
                      launch.program.stack, launch.program.gate};
}

Result<void> place_own_table(RestoreContext &context, const plan::Node &node, uint32_t table) {
    for (const auto &[id, number] : context.directories) // at the numbers that its plan knows
        if (dup3(context.stash.at(id), number, O_CLOEXEC) < 0)
            return base::fail_sys("keep the directory of a thread");
    TRY(place_files(context, node, table, -1));
    close_foreign(context, table);
    return {};
}

} // namespace restore
