// The story of a pre-dump, from top to bottom.

#include "criu/engine/pre_dump/pre_dump.hh"

#include "base/clock.hh"
#include "criu/engine/dump/checks.hh"
#include "criu/engine/dump/collect.hh"
#include "criu/engine/dump/page_sender.hh"
#include "criu/engine/dump/statistics.hh"
#include "criu/engine/dump/stop_tree.hh"
#include "criu/engine/dump/tracer_process.hh"
#include "criu/engine/dump/tree_images.hh"
#include "criu/engine/pre_dump/rounds.hh"
#include "criu/kernel/interruption.hh"
#include "criu/pages/image_stream.hh"

#include <fmt/format.h>

namespace pre_dump {
namespace {

struct Job {
    const engine::PreDumpRequest &request;
    engine::Notifier &notifier;
    base::Log &log;
    std::unique_ptr<pages::PageSink> page_server; ///< connected before the tree is stopped; null: into the directory
};

/// What is known when the tree runs again.
struct Facts {
    std::vector<tree::TaskFacts> tasks;
    std::vector<Round> rounds; ///< of those that have memory
    uint64_t uptime_us = 0;
};

/// While the tree stands.
Result<void> learn(const Job &job, const compel::FrozenTree &tree, dump::Increments &increments,
                   const resource::TimedPolls &polls, Facts &facts) {
    facts.uptime_us = base::now_us(CLOCK_BOOTTIME);
    facts.tasks = TRY(dump::collect(tree, dump::Depth::Memory));
    polls.settle(facts.tasks);
    increments.prune(facts.tasks);
    for (const tree::TaskFacts &task : facts.tasks) {
        if (task.zombie) {
            job.log.info(fmt::format("pre-dump: {} has no memory", dump::name_of(task)));
            continue;
        }
        if (task.memory_of.value) // it is that of another
            continue;
        facts.rounds.push_back(TRY_CTX(Round::open(task), dump::name_of(task)));
        TRY_CTX(facts.rounds.back().arm(increments), dump::name_of(task));
        TRY(kernel::check_interrupted());
    }
    return polls.limit(facts.tasks);
}

/// While it runs.
Result<void> write_images(const Job &job, Facts &facts, dump::Increments &increments, image::ImageDirWriter &images,
                          const std::string &run_id, dump::MemoryStatistics &statistics) {
    const auto namespaces = TRY(dump::number_namespaces(facts.tasks));
    const auto directory = dump::images_sink(job.request.dump, images);
    pages::PageSink &sink = job.page_server ? *job.page_server : *directory;
    dump::MemoryDumpContext context{
        .images = images, .sink = sink, .files = nullptr, .namespaces = namespaces, .tasks = facts.tasks};
    context.increments = &increments;
    context.progress = job.request.dump.progress;
    engine::begin_round(context.progress);
    for (Round &round : facts.rounds)
        TRY(round.save(increments, context, job.request.mode));
    TRY(sink.finish());
    statistics = context.statistics;
    return dump::finish_images(images,
                               {.run_id = run_id,
                                .compressed = job.request.dump.compression.is_on(),
                                .uptime_us = facts.uptime_us,
                                .pre_dump = static_cast<uint32_t>(job.request.mode)},
                               namespaces);
}

Result<engine::DumpOutcome> save(const Job &job, Facts &facts, dump::Increments &increments, dump::DumpClock &clock) {
    const engine::DumpRequest &request = job.request.dump;
    auto images = TRY(image::ImageDirWriter::open(request.images_dir_fd, request.layout));
    images.mark_unfinished();
    images.set_durable(request.durable);
    const std::string run_id = dump::make_run_id();
    dump::MemoryStatistics statistics;
    Result<void> written = increments.parent().link(request.images_dir_fd);
    if (written)
        written = write_images(job, facts, increments, images, run_id, statistics);
    if (written && request.stream)
        written = pages::send_directory(*request.stream, request.images_dir_fd);
    if (written && request.stream)
        written = pages::send_rest(*request.stream, request.images_dir_fd);
    if (!written) {
        images.discard();
        increments.parent().unlink(request.images_dir_fd);
        TRY(std::move(written));
    }
    if (auto left = increments.notes().leave(run_id); !left)
        job.log.warn(fmt::format("tracking: {}: the next dump will be a full one", left.error().message()));
    increments.keep_pidfds(facts.tasks);
    increments.drop_superseded(request.images_dir_fd);
    auto written_down = TRY(dump::write_statistics(clock, statistics, request.work_dir_fd));
    dump::warn_of_removed(images, job.log);
    job.log.info("Pre-dumping finished successfully");
    return engine::DumpOutcome{.script_status = 0, .statistics = std::move(written_down)};
}

/// `guarded`: somebody sees to the tasks if we are killed.
Result<engine::DumpOutcome> pre_dump(const Job &job, bool guarded) {
    TRY(job.notifier.tell("pre-dump", job.request.dump.root));
    kernel::HoldInterruption hold;
    auto increments = TRY(dump::Increments::open(job.request.dump, job.log));
    dump::DumpClock clock;
    resource::TimedPolls polls;
    std::optional<kernel::FreezerGroup> group;
    std::optional<compel::FrozenTree> tree(TRY(dump::stop_tree(job.request.dump, guarded, polls, group)));
    auto go_on = [&]() -> Result<engine::DumpOutcome> {
        Facts facts;
        clock.frozen();
        TRY(learn(job, *tree, increments, polls, facts));
        TRY(tree->thaw());
        clock.done();
        return save(job, facts, increments, clock);
    };
    if (guarded || !dump::needs_living_tracer(*tree))
        return go_on();
    tree.reset(); // that somebody has to live shows only now
    return dump::run_in_child([&]() -> Result<engine::DumpOutcome> {
        tree.emplace(TRY(dump::stop_tree(job.request.dump, true, polls, group)));
        return go_on();
    });
}

} // namespace

base::Result<engine::DumpOutcome> run(const engine::PreDumpRequest &request, engine::Notifier &notifier,
                                      base::Log &log) {
    if (request.dump.root.value <= 0)
        return base::fail(base::ErrorKind::Usage, "pre-dump: say which task to save with -t PID");
    TRY_CTX(dump::check_target(request.dump.root, request.dump.files.service_socket != 0), "pre-dump");
    engine::PreDumpRequest wanted = request;
    wanted.dump.increment.track_memory = true;
    const Job job{wanted, notifier, log, TRY_CTX(dump::connect_page_server(wanted.dump), "pre-dump")};
    if (!dump::needs_living_tracer(request.dump.root))
        return TRY_CTX(pre_dump(job, false), "pre-dump");
    return TRY_CTX(dump::run_in_child([&] { return pre_dump(job, true); }), "pre-dump");
}

} // namespace pre_dump
