// The last passes of a restore: everything is back, and the tree begins to run.
#include "criu/engine/restore/cgroups.hh"
#include "criu/engine/restore/files.hh"
#include "criu/engine/restore/namespaces.hh"
#include "criu/engine/restore/restore_run.hh"
#include "criu/engine/restore/task.hh"
#include "criu/kernel/interruption.hh"
#include "criu/kernel/readiness.hh"
#include "criu/pages/dedup.hh"

#include <fmt/format.h>

namespace restore {
namespace {

/// Where it is too late to refuse.
void tell_only(RestoreRun &run, const char *hook) {
    if (auto told = run.notifier.tell(hook, run.outcome.root); !told)
        run.log.error("restore: " + told.error().message());
}

} // namespace

Result<void> place_in_groups(RestoreRun &run) {
    RestoreContext &context = *run.context;
    run.outcome.root = context.real_root();
    if (context.has_pid_namespace())
        context.pids = TRY(find_pids(run.outcome.root));
    TRY(place_in_groups(context, *run.groups));
    return run.groups->finish(run.log);
}

Result<void> tell_post_restore(RestoreRun &run) {
    return run.notifier.tell("post-restore", run.outcome.root);
}

Result<void> take_threads(RestoreRun &run) {
    RestoreContext &context = *run.context;
    RestoredThreads &threads = run.threads.emplace(context);
    TRY(threads.seize_all());
    context.rendezvous.expect(count_arrivals(context).threads);
    context.rendezvous.open(plan::kRestored);
    TRY(run.coordinator->wait_all([&] { threads.go_on(); }));
    return threads.prepare();
}

Result<void> tell_devices(RestoreRun &run) {
    for (const plan::TaskImage &task : run.checkpoint().tasks)
        if (!task.dead())
            TRY(run.plugins->tell(kernel::PluginMoment::ResumeDevices, run.context->real_pid(task.pid)));
    return {};
}

Result<void> write_pidfile(RestoreRun &run) {
    return kernel::write_pidfile(run.request.work_dir_fd, run.request.pidfile, run.outcome.root);
}

Result<void> begin_lazy_pages(RestoreRun &run) {
    return run.lazy ? run.lazy->begin() : Result<void>();
}

Result<void> heed_signals(RestoreRun &) {
    return kernel::check_interrupted();
}

Result<void> unlock_network(RestoreRun &run) {
    if (has_own(run.checkpoint(), tree::NamespaceKind::Net)) // the concern of who has made a network for the tree
        TRY(run.notifier.tell("network-unlock", run.outcome.root));
    TRY(run.network->unlock(*run.context));
    tell_only(run, "pre-resume");
    return {};
}

// From here to the end the images cannot be restored again if we are killed; behind it there are watches that would see
// the names go.
Result<void> remove_links(RestoreRun &run) {
    const auto below = TRY(mounts_below(*run.context));
    resource::remove_link_remaps(
        [&](int32_t mount) {
            const auto other = below.find(static_cast<uint32_t>(mount));
            return other == below.end() ? run.context->tree_root() : other->second;
        },
        run.checkpoint().files, run.checkpoint().remaps);
    return {};
}

Result<void> release_files(RestoreRun &run) {
    return release_files(*run.context);
}

Result<void> release_threads(RestoreRun &run) {
    return run.threads->release(run.request.leave_stopped);
}

Result<void> keep_everything(RestoreRun &run) {
    run.coordinator->done();
    run.journal.done();
    run.groups->keep();
    run.segments->done();
    run.plugins->succeeded();
    run.clock->done();
    run.outcome.asked_to_end = run.coordinator->asked_to_end();
    return {};
}

Result<void> drop_pages(RestoreRun &run) {
    if (!run.request.drop_pages)
        return {};
    if (auto dropped = pages::drop_restored(run.checkpoint().chain); !dropped)
        run.log.warn("the saved pages stay: " + dropped.error().message());
    return {};
}

Result<void> tell_of_end(RestoreRun &run) {
    tell_only(run, "post-resume");
    run.outcome.statistics =
        TRY(write_statistics(*run.clock, run.context->rendezvous.counters(), run.request.work_dir_fd));
    run.log.info("Restore finished successfully. Tasks resumed.");
    return {};
}

} // namespace restore
