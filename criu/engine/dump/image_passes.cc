// The passes of a dump that write images.
#include "base/clock.hh"
#include "criu/engine/dump/collect.hh"
#include "criu/engine/dump/frozen_dump.hh"
#include "criu/engine/dump/page_cache_charging.hh"
#include "criu/engine/dump/seccomp_filters.hh"
#include "criu/engine/dump/tree_images.hh"
#include "criu/engine/restore/draft.hh"
#include "criu/kernel/interruption.hh"
#include "criu/resource/file/hidden_state.hh"
#include "criu/resource/namespace/namespace.hh"
#include "criu/resource/task/hidden_state.hh"
#include "criu/resource/task/processor.hh"
#include "criu/resource/task/time_left.hh"

#include <fmt/format.h>

namespace dump {

Result<void> link_parent(FrozenDump &dump) {
    return dump.increments.parent().link(dump.request.images_dir_fd);
}

Result<void> write_tasks(FrozenDump &dump) {
    resource::find_time_left(*dump.files, dump.tasks);
    TRY(resource::settle_hidden_state([&] { return resource::kernel_memory(*dump.files); }, dump.tasks,
                                      dump.request.files.allowed_losses, dump.job.log));
    TRY(dump_seccomp_filters(*dump.images, dump.tasks));
    TaskDumpContext context{*dump.images, dump.namespaces, *dump.table, *dump.memory, {}};
    // While a task writes its memory we are at the next one already.
    std::optional<TaskInDump> writing;
    for (const tree::TaskFacts &task : dump.tasks) {
        TRY(kernel::check_interrupted());
        dump.job.log.info(fmt::format("dump: {}", name_of(task)));
        if (task.zombie) {
            TRY_CTX(dump_zombie(context, task), name_of(task));
            continue;
        }
        if (writing && task.memory_of.value) { // one agent at a time in an address space
            TRY(writing->finish(context));
            writing.reset();
        }
        dump.memory->agent_may_write = may_write_itself(task.voice);
        TaskInDump next = TRY_CTX(TaskInDump::begin(context, task), name_of(task));
        if (writing)
            TRY(writing->finish(context));
        writing = std::move(next);
    }
    return writing ? writing->finish(context) : Result<void>();
}

Result<void> write_files(FrozenDump &dump) {
    return dump.table->finish();
}

Result<void> write_namespaces(FrozenDump &dump) {
    TRY(write_process_tree(*dump.images, dump.tasks));
    resource::NamespaceDumpContext context{
        *dump.images, dump.job.log, dump.tasks, dump.namespaces, dump.request.namespaces, dump.files->dump_contents};
    return resource::dump_namespaces(context);
}

Result<void> finish_pages(FrozenDump &dump) {
    return dump.is_snapshot() ? Result<void>() : dump.sink().finish();
}

// A step may bring further descriptors to light, in a queue that could not be read before.
Result<void> take_what_changes_the_tree(FrozenDump &dump) {
    if (dump.tree_survives())
        return {};
    if (dump.files->destructive_bytes)
        TRY(dump.images->secure(dump.files->destructive_bytes));
    for (bool found = true; found;) {
        found = false;
        for (const resource::FileKind *kind : resource::file_kinds())
            if (kind->destructive_step && TRY_CTX(kind->destructive_step(*dump.files), kind->name))
                found = true;
    }
    return {};
}

Result<void> tell_plugins_late(FrozenDump &dump) {
    return dump.tell_of_each(kernel::PluginMoment::DumpDevicesLate);
}

Result<void> write_surroundings(FrozenDump &dump) {
    if (dump.request.layout == image::Layout::Current)
        TRY(write_clocks(*dump.images));
    if (dump.request.note_processor)
        TRY(resource::write_processor(*dump.images));
    return dump.groups.dump(*dump.images, dump.request.cgroups);
}

Result<void> let_snapshot_go_on(FrozenDump &dump) {
    if (!dump.is_snapshot())
        return {};
    TRY(let_go_on(dump));
    dump.runs_again = true;
    if (!dump.ahead.memory)
        return {};
    // What is written from now on is no concern of ours.
    if (auto ended = dump.at_home([&] { return dump.increments.notes().end(); }); !ended)
        dump.job.log.warn(fmt::format("tracking: {}", ended.error().message()));
    return {};
}

Result<void> write_snapshot(FrozenDump &dump) {
    if (!dump.is_snapshot())
        return {};
    {
        base::Stopwatch watch(dump.memory->statistics.write_us);
        MemoryDumpContext memory{.images = *dump.images,
                                 .sink = dump.sink(),
                                 .files = nullptr,
                                 .namespaces = dump.namespaces,
                                 .tasks = dump.tasks,
                                 .statistics = dump.memory->statistics,
                                 .progress = dump.request.progress};
        engine::begin_writing(dump.request.progress, engine::Progress::Tree::Runs);
        TRY(dump.snapshot->write(memory));
        dump.memory->statistics = memory.statistics;
    }
    return dump.sink().finish();
}

Result<void> write_inventory(FrozenDump &dump) {
    const engine::DumpRequest &request = dump.request;
    return finish_images(*dump.images,
                         {.run_id = dump.run_id,
                          .compressed = request.compression.is_on(),
                          .tcp_close = request.files.tcp_close,
                          .network_locked = request.files.lock_network,
                          .plugins = dump.plugins.needed(),
                          .allow_uprobes = request.allow_uprobes,
                          .uptime_us = request.increment.track_memory ? std::optional(dump.uptime_us) : std::nullopt,
                          .pre_dump = std::nullopt},
                         dump.namespaces);
}

Result<void> verify(FrozenDump &dump) {
    if (!dump.request.verify)
        return {};
    auto outcome = restore::verify_images(dump.request.images_dir_fd, dump.request.files.shell_job);
    if (!outcome)
        return base::fail(std::move(outcome.error()
                                        .ctx("what was written could not be restored here")
                                        .hint("--no-verify dumps all the same, for a restore elsewhere")));
    return {};
}

} // namespace dump
