// The story of a dump, from top to bottom: the table of passes, how the tree is stopped for them, and what becomes of
// it if one fails.

#include "criu/engine/dump/dump.hh"

#include "base/clock.hh"
#include "criu/engine/dump/checks.hh"
#include "criu/engine/dump/frozen_dump.hh"
#include "criu/engine/dump/stop_tree.hh"
#include "criu/engine/dump/tracer_process.hh"
#include "criu/engine/pass.hh"
#include "criu/kernel/interruption.hh"
#include "criu/kernel/io.hh"
#include "criu/kernel/proc_dir.hh"

#include <fcntl.h>

namespace dump {
namespace {

/// What a failure means.
enum class Phase {
    Learn, ///< nothing was made: the tree goes on as if nothing had been
    Write, ///< images are made, and what they need outside of the directory: both are taken back, the tree goes on
    Leave, ///< the images are complete and the tree has ended, or goes on: nothing is taken back
};

/// The order of everything, once all tasks of the tree stand still.
constexpr engine::Pass<Phase, FrozenDump> kPasses[] = {
    {Phase::Learn, "plugins are told of each task", tell_plugins},
    {Phase::Learn, "who has made a network for the tree hears that it will be locked", announce_lock},
    {Phase::Learn, "the caller may name what is external", ask_for_names},
    {Phase::Learn, "facts about tasks and namespaces", learn},
    {Phase::Learn, "what cannot be saved is refused", check_tree},
    {Phase::Learn, "facts about control groups", learn_groups},
    // From here on there is something to take back.
    {Phase::Write, "the directory is opened, without what an earlier checkpoint left", open_images},
    {Phase::Write, "the network, the mounts and the files of the tree are at hand", open_surroundings},
    {Phase::Write, "the images before are linked", link_parent},
    {Phase::Write, "each task: core, memory, descriptors", write_tasks},
    {Phase::Write, "files that depend on each other (connections are locked)", write_files},
    {Phase::Write, "the process tree and what its namespaces hold", write_namespaces},
    {Phase::Write, "the last pages are out", finish_pages},
    {Phase::Write, "what changes the tree for good, if it is to end", take_what_changes_the_tree},
    {Phase::Write, "plugins are told of each task again", tell_plugins_late},
    {Phase::Write, "clocks, processor, control groups", write_surroundings},
    {Phase::Write, "the tree of a live snapshot goes on", let_snapshot_go_on},
    {Phase::Write, "memory of a live snapshot", write_snapshot},
    {Phase::Write, "the inventory: the directory is a checkpoint", write_inventory},
    {Phase::Write, "the restore of what was written is planned", verify},
    {Phase::Write, "signals are heeded for the last time", heed_signals},
    {Phase::Write, "images go into a stream, if that was asked for", send_images},
    {Phase::Write, "connections are made to end unnoticed", prepare_to_kill},
    {Phase::Write, "... and what that has added to the images", send_rest},
    {Phase::Write, "the post-dump script may say no", run_script},
    {Phase::Write, "memory that was left in the tasks is given away", give_left_memory},
    {Phase::Write, "what has to outlive us is made lasting", outlive},
    // Nothing may refuse from here on.
    {Phase::Leave, "the tree ends, or goes on", leave_tree},
    {Phase::Leave, "notes for the next dump", leave_notes},
    {Phase::Leave, "pages that this dump replaces", drop_superseded},
    {Phase::Leave, "statistics", tell_of_end},
};
static_assert(engine::phases_ascend(kPasses));

/// Dumps a tree that stands still.
Result<engine::DumpOutcome> dump_frozen(FrozenDump dump) {
    dump.clock.frozen();
    dump.uptime_us = base::now_us(CLOCK_BOOTTIME);
    Phase reached = Phase::Learn;
    Result<void> done = engine::run_passes(kPasses, dump, dump.job.log, "dump", reached);
    if (reached != Phase::Leave)
        take_back(dump, !done);
    TRY(std::move(done));
    if (dump.script_status == engine::kUndecided)
        TRY(dump.tree.leave_stopped());
    return engine::DumpOutcome{.script_status = dump.script_status, .statistics = std::move(dump.written)};
}

/// Tells the plugins of tasks that still run: those of the tree, as far as it can be seen without stopping it.
Result<void> pause_devices(const kernel::Plugins &plugins, base::Pid root) {
    if (!plugins.has(kernel::PluginMoment::PauseDevices))
        return {};
    std::vector<base::Pid> tasks{root};
    for (size_t i = 0; i < tasks.size(); i++) {
        TRY(plugins.tell(kernel::PluginMoment::PauseDevices, tasks[i]));
        auto children = kernel::children_of(tasks[i]);
        tasks.insert(tasks.end(), children.begin(), children.end());
    }
    return {};
}

/// What can be had of its memory before it is stopped for good.
Result<TakenAhead> take_ahead(const Job &job, SnapshotWay way, bool guarded, Increments &increments,
                              resource::TimedPolls &polls, std::optional<kernel::FreezerGroup> &group) {
    TakenAhead ahead{.way = way, .memory = nullptr};
    if (way != SnapshotWay::Precopy)
        return ahead;
    ahead.memory = std::make_unique<Precopy>(job.request, increments, job.log);
    TRY(ahead.memory->run(guarded, polls, group));
    return ahead;
}

/// Stops the tree and dumps it. `guarded`: somebody sees to the tasks if we are killed.
Result<engine::DumpOutcome> dump(const Job &job, SnapshotWay way, bool guarded) {
    TRY(job.notifier.tell("pre-dump", job.request.root));
    kernel::HoldInterruption hold;
    auto plugins = TRY(kernel::Plugins::load(job.request.plugins, job.log));
    auto increments = TRY(Increments::open(job.request, job.log));
    resource::TimedPolls polls;
    std::optional<kernel::FreezerGroup> group;
    TakenAhead ahead = TRY(take_ahead(job, way, guarded, increments, polls, group));
    TRY(pause_devices(plugins, job.request.root));
    auto mappings = MappingReader::prepare(job.request.root);
    DumpClock clock;
    std::optional<compel::FrozenTree> frozen(TRY(stop_tree(job.request, guarded, polls, group)));
    if (guarded || !needs_living_tracer(*frozen))
        return dump_frozen({job, plugins, *frozen, std::move(mappings), polls, increments, ahead, clock});
    frozen.reset(); // that somebody has to live shows only now
    auto outcome = run_in_child([&]() -> Result<engine::DumpOutcome> {
        kernel::Plugins mine(std::move(plugins)); // they end with the dump
        auto tree = TRY(stop_tree(job.request, true, polls, group));
        return dump_frozen({job, mine, tree, {}, polls, increments, ahead, clock});
    });
    plugins.leave_to_other();
    return outcome;
}

} // namespace

base::Result<engine::DumpOutcome> run(const engine::DumpRequest &request, engine::Notifier &notifier, base::Log &log) {
    if (request.root.value <= 0)
        return base::fail(base::ErrorKind::Usage, "dump: say which task to dump with -t PID");
    TRY_CTX(check_target(request.root, request.files.service_socket != 0), "dump");
    const Job job{.request = request,
                  .notifier = notifier,
                  .log = log,
                  .own_groups = kernel::read_file(AT_FDCWD, "/proc/self/cgroup").value_or(std::string()),
                  .page_server = TRY_CTX(connect_page_server(request), "dump"),
                  .lazy = request.lazy ? TRY_CTX(LazyServer::open(*request.lazy), "dump") : nullptr};
    using engine::SnapshotMethod;
    const bool decides = request.snapshot == SnapshotMethod::Auto || request.snapshot == SnapshotMethod::Precopy;
    const TreeSurvey tree = request.leave_running && decides ? survey_tree(request) : TreeSurvey();
    const SnapshotWay way = choose_snapshot(request, notifier.has_listeners(), tree);
    if (!needs_living_tracer(request.root) && !(way == SnapshotWay::Precopy && tree.needs_guard))
        return TRY_CTX(dump(job, way, false), "dump");
    return TRY_CTX(run_in_child([&] { return dump(job, way, true); }), "dump");
}

} // namespace dump
