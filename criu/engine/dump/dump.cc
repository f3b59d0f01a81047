// The story of a dump, from top to bottom.

#include "criu/engine/dump/dump.hh"

#include "compel/freezer.hh"
#include "criu/engine/dump/checks.hh"
#include "criu/engine/dump/collect.hh"
#include "criu/engine/dump/memory_room.hh"
#include "criu/engine/dump/page_cache_charging.hh"
#include "criu/engine/dump/page_writer.hh"
#include "criu/engine/dump/remains.hh"
#include "criu/engine/dump/seccomp_filters.hh"
#include "criu/engine/dump/statistics.hh"
#include "criu/engine/dump/task_dump.hh"
#include "criu/engine/dump/tracer_process.hh"
#include "criu/engine/dump/tree_images.hh"
#include "criu/kernel/interruption.hh"
#include "criu/kernel/network_lock.hh"
#include "criu/kernel/plugins.hh"
#include "criu/kernel/proc_dir.hh"
#include "criu/kernel/scripts.hh"
#include "criu/resource/task/time_left.hh"
#include "criu/resource/task/timed_polls.hh"

#include <algorithm>
#include <fmt/format.h>
#include <optional>
#include <sys/resource.h>

namespace dump {
namespace {

image::Layout layout_of(const cli::Options &options) {
    return options.image_layout == cli::ImageLayout::Split ? image::Layout::Split : image::Layout::Current;
}

/// `guarded`: somebody sees to the tasks if we are killed.
Result<compel::FrozenTree> freeze(const cli::Options &options, bool guarded, resource::TimedPolls &polls) {
    compel::FreezeOptions how;
    how.suspend_dispatch = guarded;
    how.before_stop = [&](std::span<const base::Pid> threads) { polls.look(threads); };
    how.timeout_ms = options.timeout_seconds ? static_cast<int>(options.timeout_seconds) * 1000 : -1;
    return compel::FrozenTree::freeze(base::Pid(options.tree), how);
}

std::string name_of(const tree::TaskFacts &task) {
    return fmt::format("task {} ({})", task.pid.value, task.stat.comm);
}

/// Everything that can be refused from facts alone, before the first byte is written or the first call injected.
Result<void> check_tree(const std::vector<tree::TaskFacts> &tasks, const cli::Options &options) {
    const OwnNamespaces own = own_namespaces();
    TRY(check_sessions(tasks, options.shell_job));
    MemoryRoom room;
    for (const tree::TaskFacts &task : tasks) {
        if (task.zombie)
            continue;
        TRY_CTX(check_namespaces(task, own), name_of(task));
        TRY_CTX(check_threads(task), name_of(task));
        TRY_CTX(room.check(task), name_of(task));
        if (options.manage_cgroups == cli::ManageCgroups::Soft)
            TRY_CTX(check_cgroups(task), name_of(task));
        TRY_CTX(classify_all(task), name_of(task));
        TRY_CTX(check_sharing(task, tasks), name_of(task));
    }
    return {};
}

/// The restore opens all files in one task: better known before the tree ends.
void warn_of_limit(base::Log &log, size_t files) {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && files > limit.rlim_max)
        log.warn(
            fmt::format("{} files are open in the tree: a restore needs that many descriptors at once, and the hard "
                        "limit on open files is {} here: raise it before (ulimit -Hn), or restore with "
                        "CAP_SYS_RESOURCE",
                        files, limit.rlim_max));
}

/// Writes all images but the inventory.
Result<void> write_images(std::vector<tree::TaskFacts> &tasks, base::Log &log, image::ImageDirWriter &images,
                          resource::FileDumpContext &files, MemoryStatistics &statistics) {
    FileTable table(files);
    MemoryDumpContext memory{.images = images, .files = table};
    TaskDumpContext context{images, table, memory, {}};
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
    warn_of_limit(log, table.count());
    TRY(write_process_tree(images, tasks));
    if (!files.last_steps.empty())
        TRY(images.secure(files.last_bytes));
    for (auto &step : files.last_steps)
        TRY(step());
    statistics = memory.statistics;
    return {};
}

Result<void> leave_tree(compel::FrozenTree &tree, const cli::Options &options) {
    if (options.leave_stopped)
        return tree.leave_stopped();
    if (options.leave_running)
        return tree.thaw();
    return tree.kill();
}

Result<int> run_post_dump(const kernel::Scripts &scripts, const cli::Options &options,
                          resource::FileDumpContext &files) {
    const int status = TRY(scripts.run_for_status("post-dump", base::Pid(options.tree)));
    if (status == 0 && !files.options.tree_survives)
        for (auto &step : files.at_kill)
            TRY(step());
    return status;
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

/// Learns everything about it, less what the caller does not want.
Result<std::vector<tree::TaskFacts>> learn(compel::FrozenTree &tree, const cli::Options &options) {
    auto tasks = TRY(collect(tree));
    for (tree::TaskFacts &task : tasks)
        std::erase_if(task.fds,
                      [&](int fd) { return std::ranges::find(options.skip_fds, fd) != options.skip_fds.end(); });
    TRY(check_tree(tasks, options));
    TRY(straighten_handlers(tasks));
    return tasks;
}

} // namespace

base::Result<int> run(const cli::Options &options, base::Log &log) {
    if (options.tree <= 0)
        return base::fail(base::ErrorKind::Usage, "dump: say which task to dump with -t PID");
    const bool guarded = needs_living_tracer(base::Pid(options.tree));
    if (guarded)
        if (auto ended = TRY_CTX(go_on_in_child(), "dump"))
            return *ended;
    kernel::Scripts scripts(options.action_scripts, options.images_dir_fd);
    TRY_CTX(scripts.run("pre-dump", {}), "dump");
    kernel::HoldInterruption hold;
    auto plugins =
        TRY_CTX(kernel::Plugins::load(resource::plugin_settings(options, kernel::Plugins::Stage::Dump), log), "dump");
    if (plugins.has(kernel::PluginMoment::PauseDevices))
        TRY_CTX(pause_devices(plugins, base::Pid(options.tree)), "dump");
    DumpClock clock;
    resource::TimedPolls polls;
    std::optional<compel::FrozenTree> frozen(TRY_CTX(freeze(options, guarded, polls), "dump"));
    if (!guarded && needs_living_tracer(*frozen)) { // which shows only now
        frozen.reset();
        if (auto ended = TRY_CTX(go_on_in_child(), "dump")) {
            plugins.leave_to_other();
            return *ended;
        }
        frozen.emplace(TRY_CTX(freeze(options, true, polls), "dump"));
    }
    compel::FrozenTree &tree = *frozen;
    clock.frozen();
    TRY_CTX(tell_of_each(plugins, kernel::PluginMoment::CheckpointDevices, tree), "dump");
    auto tasks = TRY_CTX(learn(tree, options), "dump");
    polls.settle(tasks);

    auto images = TRY_CTX(image::ImageDirWriter::open(options.images_dir_fd, layout_of(options)), "dump");
    const std::string run_id = make_run_id();
    auto file_settings = resource::file_options(options);
    // CRIU's restore deletes the table of this name.
    file_settings.network_table = kernel::lock_table_name(run_id);
    resource::FileDumpContext files{
        .options = file_settings, .plugins = plugins, .images = images, .log = log, .tasks = tasks};
    polls.hand_over_memory(files);
    files.run_hook = [&](const char *hook) { return scripts.run(hook, base::Pid(options.tree)); };
    MemoryStatistics statistics;
    Result<void> written = write_images(tasks, log, images, files, statistics);
    if (written)
        written = tell_of_each(plugins, kernel::PluginMoment::DumpDevicesLate, tree);
    if (written && layout_of(options) == image::Layout::Current)
        written = write_clocks(images);
    if (written)
        written = finish_images(images, {.run_id = run_id,
                                         .tcp_close = file_settings.tcp_close,
                                         .network_locked = file_settings.lock_network,
                                         .plugins = plugins.needed()});
    Result<int> scripted = 0;
    if (written && !file_settings.tree_survives)
        written = prepare_to_kill(files);
    if (written)
        scripted = run_post_dump(scripts, options, files);
    if (!written || !scripted || *scripted != 0) {
        take_back(files);
        if (!written)
            images.discard();
        TRY_CTX(std::move(written), "dump");
        return scripted;
    }
    if (file_settings.tree_survives)
        take_back(files); // the tasks live on beside the images: no name of ours may stay among their files
    if (options.leave_running || options.leave_stopped)
        TRY_CTX(polls.limit(tasks), "dump");
    TRY_CTX(leave_tree(tree, options), "dump");
    plugins.succeeded();
    clock.done();
    TRY_CTX(write_statistics(clock, statistics, options.display_stats), "dump");
    log.info("Dumping finished successfully");
    return 0;
}

} // namespace dump
