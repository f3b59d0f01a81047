// How the tree comes into being: what is prepared for it, and the barriers at which the coordinator and the tasks meet.
#include "criu/engine/restore/cgroups.hh"
#include "criu/engine/restore/file_checks.hh"
#include "criu/engine/restore/namespaces.hh"
#include "criu/engine/restore/restore_run.hh"
#include "criu/engine/restore/surroundings.hh"
#include "criu/engine/restore/task.hh"
#include "criu/resource/namespace/user_namespace.hh"

#include <fmt/format.h>
#include <unistd.h>

namespace restore {
namespace {

Result<kernel::Plugins> start_plugins(const plan::Checkpoint &checkpoint, kernel::Plugins::Settings settings,
                                      base::Log &log) {
    const auto &needed = checkpoint.inventory.plugins_entry().plugins();
    settings.needed.assign(needed.begin(), needed.end());
    auto plugins = TRY(kernel::Plugins::load(settings, log));
    TRY(plugins.tell(kernel::PluginMoment::RestoreInit, {}));
    return plugins;
}

// ---- what is done at the barriers ----------------------------------------------------------------------------------

bool root_waits(const RestoreContext &context) {
    return context.root_waits;
}

bool has_late_files(const RestoreContext &context) {
    return context.checkpoint.has_late_files;
}

Result<void> set_up_root(RestoreRun &run) {
    RestoreContext &context = *run.context;
    const base::Pid root = context.rendezvous.root();
    TRY(give_ids(context));
    if (const uint32_t set = root_set(context.checkpoint); run.groups->knows(set))
        TRY(run.groups->move_to_namespace_root(set, root));
    TRY(run.network->take_inside(context, root));
    if (context.has_own_namespaces())
        TRY(run.notifier.tell("setup-namespaces", root));
    return bring_into_namespaces(context, root, run.journal);
}

Result<void> move_filled_root(RestoreRun &run) {
    const RestoreContext &context = *run.context;
    if (const uint32_t set = root_set(context.checkpoint);
        run.groups->knows(set) && has_own(context.checkpoint, tree::NamespaceKind::Cgroup))
        TRY(run.groups->move_process(set, context.rendezvous.root()));
    return context.has_own_namespaces() ? run.notifier.tell("post-setup-namespaces", {}) : Result<void>();
}

Result<void> tell_plugins(RestoreRun &run) {
    return run.plugins->tell(kernel::PluginMoment::PostForking, {});
}

Result<void> tell_lazy_daemon(RestoreRun &run) {
    return run.lazy ? run.lazy->tell_of_dead(run.checkpoint(), run.context->rendezvous) : Result<void>();
}

// ---- the barriers --------------------------------------------------------------------------------------------------

enum class Who { Root, Processes, Tasks, Threads };

/// Where tasks wait for each other, and for us.
struct Barrier {
    Who who;                                           ///< arrives here
    uint32_t stage;                                    ///< whose opening sends them on their way here; 0: none
    const char *holds;                                 ///< when all are there
    bool (*applies)(const RestoreContext &) = nullptr; ///< null: always
    Result<void> (*meanwhile)(RestoreRun &) = nullptr; ///< what we do while they are on their way
    Result<void> (*then)(RestoreRun &) = nullptr;      ///< ... and while they wait
};

constexpr Barrier kBarriers[] = {
    {Who::Root, 0, "the root task exists, in fresh namespaces", root_waits, nullptr, set_up_root},
    {Who::Root, plan::kHooked, "its namespaces hold what the images say", root_waits, nullptr, move_filled_root},
    {Who::Processes, plan::kFilled, "every process exists, all files are open", nullptr, tell_plugins},
    {Who::Processes, plan::kAllForked, "process groups are joined"},
    {Who::Tasks, plan::kGrouped, "descriptors are at their numbers; helpers are gone", nullptr, tell_lazy_daemon},
    {Who::Threads, plan::kOpened, "every thread exists, memory is back"},
    {Who::Threads, plan::kThreaded, "files that needed the others are open", has_late_files},
    {Who::Threads, plan::kLateOpened, "... and at their numbers everywhere", has_late_files},
};

uint32_t count(const Arrivals &arrivals, Who who) {
    switch (who) {
    case Who::Root:
        return 1;
    case Who::Processes:
        return arrivals.processes;
    case Who::Tasks:
        return arrivals.tasks;
    case Who::Threads:
        break;
    }
    return arrivals.threads;
}

Result<void> start_root(RestoreRun &run) {
    TRY(run.coordinator->start());
    if (NumberClerk::is_needed(*run.context))
        run.clerk.emplace(TRY(NumberClerk::start(*run.context)));
    return {};
}

Result<void> meet_at(const Barrier &barrier, const Arrivals &arrivals, bool first, RestoreRun &run) {
    run.context->rendezvous.expect(count(arrivals, barrier.who));
    if (first)
        TRY(start_root(run));
    else
        run.context->rendezvous.open(barrier.stage);
    if (barrier.meanwhile)
        TRY(barrier.meanwhile(run));
    TRY(run.coordinator->wait_all());
    run.log.debug(fmt::format("restore: {}", barrier.holds));
    return barrier.then ? barrier.then(run) : Result<void>();
}

} // namespace

Result<void> tell_pre_restore(RestoreRun &run) {
    TRY(run.notifier.tell("pre-restore", {}));
    run.clock.emplace();
    return {};
}

Result<void> open_context(RestoreRun &run) {
    const plan::Checkpoint &checkpoint = run.checkpoint();
    auto rendezvous = TRY(Rendezvous::create(run.draft.around.arena));
    run.plugins.emplace(TRY(start_plugins(checkpoint, run.request.plugins, run.log)));
    const bool own_pids = has_own(checkpoint, tree::NamespaceKind::Pid);
    run.context.emplace(RestoreContext{.request = run.request,
                                       .notifier = run.notifier,
                                       .log = run.log,
                                       .checkpoint = checkpoint,
                                       .own_copy = *run.draft.checkpoint,
                                       .topology = run.draft.topology,
                                       .files = run.draft.files,
                                       .plugins = *run.plugins,
                                       .spaces = std::move(run.draft.spaces),
                                       .around = run.draft.around,
                                       .rendezvous = rendezvous,
                                       .coordinator = getpid(),
                                       .namespace_flags = namespace_flags(checkpoint, run.given),
                                       .given_namespaces = run.given,
                                       .needs_own_clocks = run.needs_own_clocks,
                                       .pids = own_pids ? tree::PidMap::empty() : tree::PidMap::identity(),
                                       .stash_room = room_for_stash(checkpoint, run.draft.files)});
    if (run.request.lazy_pages)
        run.context->lazy = &run.lazy.emplace(TRY(LazyLink::connect()));
    return {};
}

Result<void> lock_network(RestoreRun &run) {
    run.network.emplace(TRY(NetworkLock::take(run.checkpoint(), run.request.files, run.given, run.log)));
    return {};
}

// Before those that will be in them, so that they have ended when the groups are taken back.
Result<void> make_groups(RestoreRun &run) {
    const plan::Checkpoint &checkpoint = run.checkpoint();
    run.groups.emplace(TRY(resource::cgroup::Groups::prepare(checkpoint.images(), run.request.cgroups, run.log)));
    run.context->root_waits = run.context->has_own_namespaces() || !run.given.of_root.empty() ||
                              has_any_below(checkpoint) || run.groups->knows(root_set(checkpoint)) ||
                              has_own(checkpoint, tree::NamespaceKind::Cgroup);
    run.context->owners = TRY(resource::read_owners(checkpoint.images(), below(checkpoint, tree::NamespaceKind::User)));
    return {};
}

Result<void> start_helpers(RestoreRun &run) {
    run.coordinator.emplace(*run.context);
    kernel::Outside &outside = run.context->outside;
    if (run.context->has_user_namespace()) {
        outside = TRY(kernel::Outside::start(run.checkpoint().images().fd()));
        run.draft.checkpoint->chain.ask([&outside](const std::string &name) { return outside.open_image(name); });
    }
    run.segments.emplace(TRY(SysvKeeper::start(run.checkpoint(), run.log)));
    return {};
}

Result<void> rebuild(RestoreRun &run) {
    prepare_heap_for_forks();
    const Arrivals arrivals = count_arrivals(*run.context);
    bool first = true;
    for (const Barrier &barrier : kBarriers)
        if (!barrier.applies || barrier.applies(*run.context))
            TRY(meet_at(barrier, arrivals, std::exchange(first, false), run));
    run.clerk.reset();
    run.clock->forked();
    return {};
}

} // namespace restore
