// The story of a dump, from top to bottom.

#include "criu/engine/dump/dump.hh"

#include "base/clock.hh"
#include "compel/freezer.hh"
#include "criu/engine/dump/checks.hh"
#include "criu/engine/dump/collect.hh"
#include "criu/engine/dump/increments.hh"
#include "criu/engine/dump/left_memory.hh"
#include "criu/engine/dump/memory_room.hh"
#include "criu/engine/dump/page_cache_charging.hh"
#include "criu/engine/dump/page_sender.hh"
#include "criu/engine/dump/page_writer.hh"
#include "criu/engine/dump/remains.hh"
#include "criu/engine/dump/seccomp_filters.hh"
#include "criu/engine/dump/snapshot.hh"
#include "criu/engine/dump/statistics.hh"
#include "criu/engine/dump/stop_tree.hh"
#include "criu/engine/dump/task_dump.hh"
#include "criu/engine/dump/tracer_process.hh"
#include "criu/engine/dump/tree_images.hh"
#include "criu/engine/restore/draft.hh"
#include "criu/kernel/interruption.hh"
#include "criu/kernel/io.hh"
#include "criu/kernel/namespaces.hh"
#include "criu/kernel/network_lock.hh"
#include "criu/kernel/plugins.hh"
#include "criu/kernel/proc_dir.hh"
#include "criu/kernel/readiness.hh"
#include "criu/resource/cgroup/cgroup.hh"
#include "criu/resource/namespace/mounts/tree_mounts.hh"
#include "criu/resource/namespace/namespace.hh"
#include "criu/resource/namespace/user_namespace.hh"
#include "criu/resource/task/processor.hh"
#include "criu/resource/task/time_left.hh"

#include <algorithm>
#include <charconv>
#include <fcntl.h>
#include <fmt/format.h>
#include <optional>

namespace dump {
namespace {

/// Everything that can be refused from facts alone, before the first byte is written or the first call injected.
Result<void> check_tree(const std::vector<tree::TaskFacts> &tasks, const tree::Namespaces &namespaces,
                        const engine::DumpRequest &request) {
    TRY(check_sessions(tasks, request.files.shell_job));
    const resource::NamespaceCheckContext context{tasks, namespaces, request.namespaces};
    for (const tree::Namespace &ns : namespaces.all())
        TRY_CTX(resource::check_namespace(context, ns), fmt::format("task {}", ns.member.value));
    MemoryRoom room;
    for (const tree::TaskFacts &task : tasks) {
        if (task.zombie)
            continue;
        TRY_CTX(resource::check_children(tasks, task), name_of(task));
        TRY_CTX(check_threads(task), name_of(task));
        TRY_CTX(room.check(task), name_of(task));
        TRY_CTX(classify_all(task), name_of(task));
        TRY_CTX(check_sharing(task, tasks), name_of(task));
    }
    return {};
}

/// A tree that could not come back must not end.
Result<void> verify(const engine::DumpRequest &request) {
    auto outcome = restore::verify_images(request.images_dir_fd, request.files.shell_job);
    if (!outcome)
        return base::fail(std::move(outcome.error()
                                        .ctx("what was written could not be restored here")
                                        .hint("--no-verify dumps all the same, for a restore elsewhere")));
    return {};
}

/// Writes all images but the inventory.
Result<void> write_images(std::vector<tree::TaskFacts> &tasks, base::Log &log, image::ImageDirWriter &images,
                          pages::PageSink &sink, LeftMemory *left, Snapshot *snapshot, resource::FileDumpContext &files,
                          const resource::NamespaceOptions &namespace_options, Increments &increments,
                          MemoryStatistics &statistics) {
    FileTable table(files);
    MemoryDumpContext memory{
        .images = images, .sink = sink, .files = &table, .namespaces = files.namespaces, .left = left};
    memory.increments = &increments;
    memory.snapshot = snapshot;
    TaskDumpContext context{images, files.namespaces, table, memory, {}};
    files.dump_contents = [&](uint64_t id, int fd) {
        return write_file_pages(memory, image::ImageKind::ShmemPagemap, id, fd);
    };
    resource::find_time_left(files, tasks);
    TRY(dump_seccomp_filters(images, tasks));
    // While a task writes its memory we are at the next one already.
    std::optional<TaskInDump> writing;
    for (const tree::TaskFacts &task : tasks) {
        TRY(kernel::check_interrupted());
        log.info(fmt::format("dump: {}", name_of(task)));
        if (task.zombie) {
            TRY_CTX(dump_zombie(context, task), name_of(task));
            continue;
        }
        memory.agent_may_write = may_write_itself(task.voice);
        TaskInDump next = TRY_CTX(TaskInDump::begin(context, task), name_of(task));
        if (writing)
            TRY(writing->finish(context));
        writing = std::move(next);
    }
    if (writing)
        TRY(writing->finish(context));
    TRY(table.finish());
    TRY(write_process_tree(images, tasks));
    resource::NamespaceDumpContext namespaces{
        images, log, tasks, files.namespaces, namespace_options, files.dump_contents};
    TRY(resource::dump_namespaces(namespaces));
    if (!snapshot || snapshot->is_empty())
        TRY(sink.finish());
    if (!files.last_steps.empty())
        TRY(images.secure(files.last_bytes));
    for (auto &step : files.last_steps)
        TRY(step());
    statistics = memory.statistics;
    return {};
}

/// While the tree runs again.
Result<void> write_snapshot(Snapshot &snapshot, image::ImageDirWriter &images, pages::PageSink &sink,
                            const tree::Namespaces &namespaces, MemoryStatistics &statistics) {
    MemoryDumpContext memory{.images = images, .sink = sink, .files = nullptr, .namespaces = namespaces};
    memory.statistics = statistics;
    {
        base::Stopwatch watch(memory.statistics.write_us);
        TRY(snapshot.write(memory));
    }
    statistics = memory.statistics;
    return sink.finish();
}

Result<void> leave_tree(compel::FrozenTree &tree, const engine::DumpRequest &request) {
    if (request.leave_stopped)
        return tree.leave_stopped();
    if (request.leave_running)
        return tree.thaw();
    return tree.kill();
}

/// What holds only until the tree is killed is made lasting, right before that.
Result<void> make_lasting(resource::FileDumpContext &files) {
    for (auto &step : files.at_kill)
        TRY(step());
    return {};
}

Result<void> prepare_to_kill(resource::FileDumpContext &files) {
    for (auto &step : files.before_kill)
        TRY(step());
    return {};
}

/// Tells the plugins of tasks that still run: those of the tree, as far as it can be seen without stopping it.
Result<void> pause_devices(const kernel::Plugins &plugins, base::Pid root) {
    std::vector<base::Pid> tasks{root};
    for (size_t i = 0; i < tasks.size(); i++) {
        TRY(plugins.tell(kernel::PluginMoment::PauseDevices, tasks[i]));
        auto children = kernel::children_of(tasks[i]);
        tasks.insert(tasks.end(), children.begin(), children.end());
    }
    return {};
}

Result<void> tell_of_each(const kernel::Plugins &plugins, kernel::PluginMoment moment, const compel::FrozenTree &tree) {
    if (plugins.has(moment))
        for (const compel::FrozenProcess &process : tree.processes())
            if (!process.zombie)
                TRY(plugins.tell(moment, process.pid));
    return {};
}

/// Takes back what was made outside of the image directory, latest first.
void take_back(resource::FileDumpContext &files) {
    for (auto it = files.undo.rbegin(); it != files.undo.rend(); ++it)
        (*it)();
}

/// What there is to know of a stopped tree from outside.
struct Knowledge {
    std::vector<tree::TaskFacts> tasks;
    tree::Namespaces namespaces;
    resource::cgroup::Sets groups;
};

/// What is wanted, and who is told.
struct Job {
    const engine::DumpRequest &request;
    engine::Notifier &notifier;
    base::Log &log;
    std::string own_groups; ///< /proc/self/cgroup as we were started: a child that outlives the caller leaves them
    std::unique_ptr<pages::PageSink> page_server; ///< connected before the tree is stopped; null: into the directory
    std::unique_ptr<LazyServer> lazy;             ///< for memory that stays in the tasks meanwhile
};

/// --external net[INODE]:KEY, pid[INODE]:KEY.
void set_external(tree::Namespaces &namespaces, const resource::FileOptions &options) {
    for (const resource::External &external : options.externals)
        for (tree::NamespaceKind kind : {tree::NamespaceKind::Net, tree::NamespaceKind::Pid}) {
            uint64_t inode = 0;
            const char *end = external.key.data() + external.key.size();
            if (external.kind == kernel::name_of(kind) && std::from_chars(external.key.data(), end, inode).ptr == end)
                namespaces.set_external(kind, inode, external.value);
        }
}

/// Learns everything about it, less what the caller does not want.
Result<Knowledge> learn(compel::FrozenTree &tree, const engine::DumpRequest &request, const std::string &own_groups,
                        Increments &increments) {
    Knowledge known{.tasks = TRY(collect(tree)), .namespaces = {}, .groups = {}};
    auto &tasks = known.tasks;
    if (request.allow_uprobes)
        for (tree::TaskFacts &task : tasks)
            std::erase_if(task.vmas, resource::is_of_probes);
    increments.settle(tasks);
    known.namespaces = TRY(number_namespaces(tasks));
    set_external(known.namespaces, request.files);
    for (tree::TaskFacts &task : tasks)
        std::erase_if(task.fds,
                      [&](int fd) { return std::ranges::find(request.skip_fds, fd) != request.skip_fds.end(); });
    TRY(check_tree(tasks, known.namespaces, request));
    TRY(straighten_handlers(tasks));
    if (request.cgroups.mode != resource::cgroup::Mode::Ignore) {
        known.groups = TRY(resource::cgroup::Sets::collect(tasks, known.namespaces, own_groups, request.cgroups));
        for (tree::TaskFacts &task : tasks)
            for (tree::ThreadFacts &thread : task.threads)
                thread.cgroup_set = known.groups.of(thread.tid);
    }
    return known;
}

/// That the network is locked concerns who has made one for the tree: its end is told as well, unless the tree ends.
class NetworkNotice {
public:
    explicit NetworkNotice(const Job &job) : job_(job) {}
    NetworkNotice(const NetworkNotice &) = delete;
    ~NetworkNotice() {
        if (!given_)
            return;
        if (auto told = job_.notifier.tell("network-unlock", job_.request.root); !told)
            job_.log.warn(told.error().message());
    }
    Result<void> give() {
        const std::string theirs = fmt::format("/proc/{}/ns/net", job_.request.root.value);
        auto own = kernel::read_link(AT_FDCWD, "/proc/self/ns/net");
        auto other = kernel::read_link(AT_FDCWD, theirs.c_str());
        if (!own || !other || *own == *other)
            return {};
        given_ = true;
        return job_.notifier.tell("network-lock", job_.request.root);
    }
    void tree_has_ended() { given_ = false; }

private:
    const Job &job_;
    bool given_ = false;
};

/// Stays until somebody else has all memory of the tree.
Result<void> give_left_memory(const Job &job, LeftMemory &left) {
    if (job.lazy->port())
        job.log.info(fmt::format("Using {} port", job.lazy->port()));
    TRY(kernel::say_ready(job.request.status_fd));
    TRY(job.notifier.tell("status-ready", job.request.root));
    TRY_CTX(job.lazy->serve(left), "memory on demand");
    return {};
}

/// The next dump builds on this one, or nothing of us stays in the tree.
Result<void> leave_notes(Increments &increments, const std::string &run_id) {
    return increments.tracks() ? increments.notes().leave(run_id) : increments.notes().end();
}

/// Dumps a tree that stands still.
Result<engine::DumpOutcome> dump_frozen(const Job &job, kernel::Plugins &plugins, compel::FrozenTree &tree,
                                        resource::TimedPolls &polls, Increments &increments, DumpClock &clock) {
    engine::DumpRequest request = job.request;
    clock.frozen();
    const uint64_t uptime = base::now_us(CLOCK_BOOTTIME);
    TRY(tell_of_each(plugins, kernel::PluginMoment::CheckpointDevices, tree));
    NetworkNotice notice(job);
    TRY(notice.give());
    TRY(job.notifier.ask_for_external(request));
    auto &file_settings = request.files;
    auto [tasks, namespaces, groups] = TRY(learn(tree, request, job.own_groups, increments));
    polls.settle(tasks);
    job.log.debug("dump: the facts are there");

    auto images = TRY(image::ImageDirWriter::open(request.images_dir_fd, request.layout));
    const std::string run_id = make_run_id();
    // CRIU's restore deletes the table of this name.
    file_settings.network_table = kernel::lock_table_name(run_id);
    // What the tool asks about sockets, and how it locks their network, it does from inside.
    std::optional<kernel::NetworkVisit> visit;
    if (const auto *net = namespaces.of_root(tree::NamespaceKind::Net);
        net && net->origin != tree::NamespaceOrigin::Host)
        visit.emplace(TRY(kernel::NetworkVisit::enter(net->member)));
    const auto at_home = [&](auto &&body) { return visit ? visit->outside(body) : body(); };
    if (const auto *user = namespaces.of_root(tree::NamespaceKind::User);
        user && user->origin == tree::NamespaceOrigin::Ours)
        images.set_owners(TRY(resource::owner_maps(user->member)));
    const tree::PidMap pids = tree::pids_of(tasks);
    resource::TreeMounts mounts = TRY(resource::tree_mounts(namespaces));
    resource::Networks networks = TRY(resource::Networks::open(namespaces));
    resource::FileDumpContext files{.options = file_settings,
                                    .plugins = plugins,
                                    .images = images,
                                    .log = job.log,
                                    .tasks = tasks,
                                    .namespaces = namespaces,
                                    .pids = pids,
                                    .mounts = mounts,
                                    .networks = networks};
    polls.hand_over_memory(files);
    MemoryStatistics statistics;
    const auto directory = images_sink(request, images);
    pages::PageSink &sink = job.page_server ? *job.page_server : *directory;
    LeftMemory left;
    const auto snapshot = Snapshot::plan(request, tasks, job.notifier.has_listeners(), job.log);
    Result<void> written = increments.parent().link(request.images_dir_fd);
    if (written)
        written = write_images(tasks, job.log, images, sink, job.lazy ? &left : nullptr, snapshot.get(), files,
                               request.namespaces, increments, statistics);
    if (written)
        written = tell_of_each(plugins, kernel::PluginMoment::DumpDevicesLate, tree);
    if (written && request.layout == image::Layout::Current)
        written = write_clocks(images);
    if (written && request.note_processor)
        written = resource::write_processor(images);
    if (written)
        written = groups.dump(images, request.cgroups);
    // The tasks live on beside the images: no name of ours may stay among their files.
    const auto let_go_on = [&]() -> Result<void> {
        take_back(files);
        TRY(polls.limit(tasks));
        TRY(leave_tree(tree, request));
        clock.done();
        return {};
    };
    const bool early = written && snapshot && !snapshot->is_empty();
    if (early)
        written = let_go_on();
    if (early && written)
        written = write_snapshot(*snapshot, images, sink, namespaces, statistics);
    if (written)
        written = finish_images(images,
                                {.run_id = run_id,
                                 .compressed = request.compression.is_on(),
                                 .tcp_close = file_settings.tcp_close,
                                 .network_locked = file_settings.lock_network,
                                 .plugins = plugins.needed(),
                                 .allow_uprobes = request.allow_uprobes,
                                 .uptime_us = request.increment.track_memory ? std::optional(uptime) : std::nullopt,
                                 .pre_dump = std::nullopt},
                                namespaces);
    job.log.debug(written ? "dump: the images are written" : "dump: the images could not be written");
    if (written && request.verify)
        written = verify(request);
    if (written)
        written = kernel::check_interrupted();
    Result<int> scripted = 0;
    if (written && !file_settings.tree_survives)
        written = prepare_to_kill(files);
    if (written)
        scripted = at_home([&] { return job.notifier.tell_for_status("post-dump", request.root); });
    if (written && scripted && *scripted == 0 && job.lazy)
        written = at_home([&] { return give_left_memory(job, left); });
    if (written && scripted && *scripted == 0 && !file_settings.tree_survives)
        written = make_lasting(files);
    if (!written || !scripted || *scripted != 0) {
        if (early)
            files.undo.clear();
        std::ranges::move(files.undo_failure, std::back_inserter(files.undo));
        take_back(files);
        if (!written) {
            images.discard();
            increments.parent().unlink(request.images_dir_fd);
        }
        TRY(std::move(written));
        return engine::DumpOutcome{.script_status = TRY(std::move(scripted)), .statistics = {}};
    }
    if (!file_settings.tree_survives)
        TRY(leave_tree(tree, request));
    else if (!early)
        TRY(let_go_on());
    if (file_settings.tree_survives)
        if (const Result<void> noted = at_home([&] { return leave_notes(increments, run_id); }); !noted)
            job.log.warn(fmt::format("tracking: {}: the next dump will be a full one", noted.error().message()));
    if (!file_settings.tree_survives)
        notice.tree_has_ended();
    kernel::take_interruptions(); // too late to be obeyed
    plugins.succeeded();
    if (!early)
        clock.done();
    increments.drop_superseded(request.images_dir_fd);
    auto written_down = TRY(write_statistics(clock, statistics, request.work_dir_fd));
    warn_of_removed(images, job.log);
    job.log.info("Dumping finished successfully");
    return engine::DumpOutcome{.script_status = 0, .statistics = std::move(written_down)};
}

/// `guarded`: somebody sees to the tasks if we are killed.
Result<engine::DumpOutcome> dump(const Job &job, bool guarded) {
    TRY(job.notifier.tell("pre-dump", job.request.root));
    kernel::HoldInterruption hold;
    auto plugins = TRY(kernel::Plugins::load(job.request.plugins, job.log));
    if (plugins.has(kernel::PluginMoment::PauseDevices))
        TRY(pause_devices(plugins, job.request.root));
    auto increments = TRY(Increments::open(job.request, job.log));
    DumpClock clock;
    resource::TimedPolls polls;
    std::optional<kernel::FreezerGroup> group;
    std::optional<compel::FrozenTree> frozen(TRY(stop_tree(job.request, guarded, polls, group)));
    if (guarded || !needs_living_tracer(*frozen))
        return dump_frozen(job, plugins, *frozen, polls, increments, clock);
    frozen.reset(); // that somebody has to live shows only now
    auto outcome = run_in_child([&]() -> Result<engine::DumpOutcome> {
        kernel::Plugins mine(std::move(plugins)); // they end with the dump
        auto tree = TRY(stop_tree(job.request, true, polls, group));
        return dump_frozen(job, mine, tree, polls, increments, clock);
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
    if (!needs_living_tracer(request.root))
        return TRY_CTX(dump(job, false), "dump");
    return TRY_CTX(run_in_child([&] { return dump(job, true); }), "dump");
}

} // namespace dump
