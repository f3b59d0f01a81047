// The story of a restore, from top to bottom.

#include "criu/engine/restore/restore.hh"

#include "criu/engine/restore/cgroups.hh"
#include "criu/engine/restore/coordinator.hh"
#include "criu/engine/restore/draft.hh"
#include "criu/engine/restore/file_checks.hh"
#include "criu/engine/restore/files.hh"
#include "criu/engine/restore/hard_limits.hh"
#include "criu/engine/restore/lazy_link.hh"
#include "criu/engine/restore/memory_checks.hh"
#include "criu/engine/restore/namespaces.hh"
#include "criu/engine/restore/network.hh"
#include "criu/engine/restore/number_clerk.hh"
#include "criu/engine/restore/print_plan.hh"
#include "criu/engine/restore/restored_threads.hh"
#include "criu/engine/restore/statistics.hh"
#include "criu/engine/restore/surroundings.hh"
#include "criu/engine/restore/sysv_keeper.hh"
#include "criu/engine/restore/task.hh"
#include "criu/kernel/interruption.hh"
#include "criu/kernel/readiness.hh"
#include "criu/pages/dedup.hh"
#include "criu/resource/namespace/user_namespace.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace restore {
namespace {

/// Waits for the tree, stage by stage.
Result<void> rebuild(RestoreContext &context, Coordinator &coordinator, engine::Notifier &notifier,
                     const resource::cgroup::Groups &groups, NetworkLock &network, base::Journal &journal) {
    const Arrivals arrivals = count_arrivals(context);
    context.rendezvous.expect(context.root_waits ? 1 : arrivals.processes);
    TRY(coordinator.start());
    std::optional<NumberClerk> clerk;
    if (NumberClerk::is_needed(context))
        clerk.emplace(TRY(NumberClerk::start(context)));
    if (context.root_waits) {
        TRY(coordinator.wait_all());
        const base::Pid root = context.rendezvous.root();
        TRY(give_ids(context));
        if (const uint32_t set = root_set(context.checkpoint); groups.knows(set))
            TRY(groups.move_to_namespace_root(set, root));
        TRY(network.take_inside(context, root));
        if (context.has_own_namespaces())
            TRY(notifier.tell("setup-namespaces", root));
        TRY(bring_into_namespaces(context, root, journal));
        context.rendezvous.expect(1);
        context.rendezvous.open(plan::kHooked);
        TRY(coordinator.wait_all());
        if (const uint32_t set = root_set(context.checkpoint);
            groups.knows(set) && has_own(context.checkpoint, tree::NamespaceKind::Cgroup))
            TRY(groups.move_process(set, root));
        if (context.has_own_namespaces())
            TRY(notifier.tell("post-setup-namespaces", {}));
        context.rendezvous.expect(arrivals.processes);
        context.rendezvous.open(plan::kFilled);
    }
    TRY(context.plugins.tell(kernel::PluginMoment::PostForking, {}));
    TRY(coordinator.wait_all());
    context.rendezvous.expect(arrivals.processes);
    context.rendezvous.open(plan::kAllForked);
    TRY(coordinator.wait_all());
    context.rendezvous.expect(arrivals.tasks);
    context.rendezvous.open(plan::kGrouped);
    if (context.lazy)
        TRY(context.lazy->tell_of_dead(context.checkpoint, context.rendezvous));
    TRY(coordinator.wait_all());
    auto wait_for_threads = [&](plan::RendezvousStage opened) -> Result<void> {
        context.rendezvous.expect(arrivals.threads);
        context.rendezvous.open(opened);
        return coordinator.wait_all();
    };
    TRY(wait_for_threads(plan::kOpened));
    if (!context.checkpoint.has_late_files)
        return {};
    TRY(wait_for_threads(plan::kThreaded));
    return wait_for_threads(plan::kLateOpened);
}

/// Where it is too late to refuse.
void tell_only(engine::Notifier &notifier, const char *hook, base::Pid root, base::Log &log) {
    if (auto told = notifier.tell(hook, root); !told)
        log.error("restore: " + told.error().message());
}

Result<kernel::Plugins> start_plugins(const plan::Checkpoint &checkpoint, kernel::Plugins::Settings settings,
                                      base::Log &log) {
    const auto &needed = checkpoint.inventory.plugins_entry().plugins();
    settings.needed.assign(needed.begin(), needed.end());
    auto plugins = TRY(kernel::Plugins::load(settings, log));
    TRY(plugins.tell(kernel::PluginMoment::RestoreInit, {}));
    return plugins;
}

Result<void> resume_devices(const RestoreContext &context) {
    for (const plan::TaskImage &task : context.checkpoint.tasks)
        if (!task.dead())
            TRY(context.plugins.tell(kernel::PluginMoment::ResumeDevices, context.real_pid(task.pid)));
    return {};
}

} // namespace

base::Result<engine::RestoreOutcome> run(const engine::RestoreRequest &request, engine::Notifier &notifier,
                                         base::Log &log) {
    Draft draft = TRY_CTX(make_draft(request.images_dir_fd, request.files.shell_job), "restore");
    const plan::Checkpoint &checkpoint = *draft.checkpoint;
    TRY_CTX(check_cpu(checkpoint), "restore");
    TRY_CTX(check_probes(checkpoint, request.allow_uprobes), "restore");
    TRY_CTX(check_processor(checkpoint, request.processor, log), "restore");
    TRY_CTX(check_namespaces(checkpoint, request.namespaces), "restore");
    TRY_CTX(check_numbers(checkpoint), "restore");
    if (request.print_plan)
        return engine::RestoreOutcome{
            .root = base::Pid(static_cast<pid_t>(checkpoint.root().pid)),
            .statistics = {},
            .asked_to_end = 0,
            .plan = TRY_CTX(print_plan(checkpoint, draft.topology, draft.spaces, draft.around), "restore")};
    TRY_CTX(check_memory(checkpoint, draft.spaces, request.lazy_pages), "restore");
    TRY_CTX(check_given(request.files.inherit_fds), "restore");
    TRY_CTX(check_capabilities(checkpoint, request.withhold_capabilities), "restore");
    TRY_CTX(check_groups(checkpoint), "restore");
    TRY_CTX(check_descriptors(checkpoint), "restore");
    TRY_CTX(fit_limits(*draft.checkpoint, request.lower_limits, log), "restore");
    const GivenNamespaces given = TRY_CTX(GivenNamespaces::find(checkpoint, request), "restore");
    const uint64_t flags = namespace_flags(checkpoint, given);
    if (!has_own(checkpoint, tree::NamespaceKind::Pid)) // in a namespace of its own all are free
        TRY_CTX(check_pids(checkpoint, draft.topology), "restore");

    const bool needs_own_clocks = has_own_clocks(checkpoint) ||
                                  TRY_CTX(clock_is_behind(checkpoint, request.withhold_capabilities, log), "restore");

    TRY_CTX(notifier.tell("pre-restore", {}), "restore");
    RestoreClock clock;
    auto rendezvous = TRY_CTX(Rendezvous::create(draft.around.arena), "restore");
    auto plugins = TRY_CTX(start_plugins(checkpoint, request.plugins, log), "restore");
    RestoreContext context{.request = request,
                           .notifier = notifier,
                           .log = log,
                           .checkpoint = checkpoint,
                           .own_copy = *draft.checkpoint,
                           .topology = draft.topology,
                           .plugins = plugins,
                           .spaces = std::move(draft.spaces),
                           .around = draft.around,
                           .rendezvous = rendezvous,
                           .coordinator = getpid(),
                           .namespace_flags = flags,
                           .given_namespaces = given,
                           .needs_own_clocks = needs_own_clocks,
                           .pids = has_own(checkpoint, tree::NamespaceKind::Pid) ? tree::PidMap::empty()
                                                                                 : tree::PidMap::identity(),
                           .stash_room = room_for_stash(checkpoint)};
    std::optional<LazyLink> lazy;
    if (request.lazy_pages)
        context.lazy = &lazy.emplace(TRY_CTX(LazyLink::connect(), "restore"));
    NetworkLock network = TRY_CTX(NetworkLock::take(checkpoint, request.files, given, log), "restore");
    // Before those that will be in them, so that they have ended when it is taken back.
    auto groups = TRY_CTX(resource::cgroup::Groups::prepare(checkpoint.images(), request.cgroups, log), "restore");
    context.root_waits = context.has_own_namespaces() || !given.of_root.empty() || has_any_below(checkpoint) ||
                         groups.knows(root_set(checkpoint)) || has_own(checkpoint, tree::NamespaceKind::Cgroup);
    context.owners =
        TRY_CTX(resource::read_owners(checkpoint.images(), below(checkpoint, tree::NamespaceKind::User)), "restore");
    Coordinator coordinator(context);
    if (context.has_user_namespace()) {
        context.outside = TRY_CTX(kernel::Outside::start(checkpoint.images().fd()), "restore");
        draft.checkpoint->chain.ask(
            [&outside = context.outside](const std::string &name) { return outside.open_image(name); });
    }
    SysvKeeper segments = TRY_CTX(SysvKeeper::start(checkpoint, log), "restore");
    prepare_heap_for_forks();
    base::Journal journal; // taken back while the tree is still there
    TRY_CTX(rebuild(context, coordinator, notifier, groups, network, journal), "restore");
    clock.forked();
    const base::Pid root = context.real_root();
    if (context.has_pid_namespace())
        context.pids = TRY_CTX(find_pids(root), "restore");
    TRY_CTX(place_in_groups(context, groups), "restore");
    TRY_CTX(groups.finish(log), "restore");
    TRY_CTX(notifier.tell("post-restore", root), "restore");

    RestoredThreads threads(context);
    TRY_CTX(threads.seize_all(), "restore");
    context.rendezvous.expect(count_arrivals(context).threads);
    context.rendezvous.open(plan::kRestored);
    TRY_CTX(coordinator.wait_all([&] { threads.go_on(); }), "restore");
    TRY_CTX(threads.prepare(), "restore");
    TRY_CTX(resume_devices(context), "restore");
    TRY_CTX(kernel::write_pidfile(request.work_dir_fd, request.pidfile, root), "restore");
    if (context.lazy)
        TRY_CTX(context.lazy->begin(), "restore");
    TRY_CTX(kernel::check_interrupted(), "restore");   // the last time that all can be undone
    if (has_own(checkpoint, tree::NamespaceKind::Net)) // the concern of who has made a network for the tree
        TRY_CTX(notifier.tell("network-unlock", root), "restore");
    TRY_CTX(network.unlock(context), "restore");
    tell_only(notifier, "pre-resume", root, log);
    // From here to the end the images cannot be restored again if we are killed; behind it there are watches that would
    // see the names go.
    resource::remove_link_remaps(
        [&, below = TRY_CTX(mounts_below(context), "restore")](int32_t mount) {
            const auto other = below.find(static_cast<uint32_t>(mount));
            return other == below.end() ? context.tree_root() : other->second;
        },
        checkpoint.files, checkpoint.remaps);
    TRY_CTX(release_files(context), "restore");
    TRY_CTX(threads.release(request.leave_stopped), "restore");
    coordinator.done();
    journal.done();
    groups.keep();
    segments.done();
    plugins.succeeded();
    clock.done();
    if (request.drop_pages)
        if (auto dropped = pages::drop_restored(checkpoint.chain); !dropped)
            log.warn("the saved pages stay: " + dropped.error().message());
    tell_only(notifier, "post-resume", root, log);
    auto statistics = TRY_CTX(write_statistics(clock, context.rendezvous.counters(), request.work_dir_fd), "restore");
    log.info("Restore finished successfully. Tasks resumed.");
    return engine::RestoreOutcome{
        .root = root, .statistics = std::move(statistics), .asked_to_end = coordinator.asked_to_end(), .plan = {}};
}

} // namespace restore
