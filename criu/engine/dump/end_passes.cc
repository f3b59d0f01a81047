// The last passes of a dump: the images are complete, and the tree ends, or goes on.
#include "criu/engine/dump/frozen_dump.hh"
#include "criu/engine/dump/tree_images.hh"
#include "criu/kernel/interruption.hh"
#include "criu/kernel/readiness.hh"
#include "criu/pages/image_stream.hh"

#include <fmt/format.h>

namespace dump {
namespace {

using KindVerb = Result<void> (*resource::FileKind::*)(resource::FileDumpContext &);

/// Only where the tree is to end.
Result<void> have_kinds(KindVerb verb, FrozenDump &dump) {
    if (dump.tree_survives())
        return {};
    for (const resource::FileKind *kind : resource::file_kinds())
        if (kind->*verb)
            TRY_CTX((kind->*verb)(*dump.files), kind->name);
    return {};
}

void take_back_files(FrozenDump &dump, bool failed) {
    if (!dump.files)
        return;
    for (const resource::FileKind *kind : resource::file_kinds())
        if (kind->take_back)
            kind->take_back(*dump.files, failed);
}

} // namespace

void take_back(FrozenDump &dump, bool failed) {
    take_back_files(dump, true);
    if (!failed)
        return;
    if (dump.images)
        dump.images->discard();
    dump.increments.parent().unlink(dump.request.images_dir_fd);
}

Result<void> let_go_on(FrozenDump &dump) {
    take_back_files(dump, false);
    TRY(dump.polls.limit(dump.tasks));
    TRY(dump.request.leave_stopped ? dump.tree.leave_stopped() : dump.tree.thaw());
    dump.clock.done();
    return {};
}

Result<void> heed_signals(FrozenDump &) {
    return kernel::check_interrupted();
}

Result<void> send_images(FrozenDump &dump) {
    return dump.request.stream ? pages::send_directory(*dump.request.stream, dump.request.images_dir_fd)
                               : Result<void>();
}

Result<void> prepare_to_kill(FrozenDump &dump) {
    return have_kinds(&resource::FileKind::before_kill, dump);
}

// What connections receive in the last moment.
Result<void> send_rest(FrozenDump &dump) {
    return dump.request.stream ? pages::send_rest(*dump.request.stream, dump.request.images_dir_fd) : Result<void>();
}

Result<void> run_script(FrozenDump &dump) {
    dump.script_status =
        TRY(dump.at_home([&] { return dump.job.notifier.tell_for_status("post-dump", dump.request.root); }));
    return {};
}

/// Stays until somebody else has all memory of the tree.
Result<void> give_left_memory(FrozenDump &dump) {
    const Job &job = dump.job;
    if (!job.lazy)
        return {};
    return dump.at_home([&]() -> Result<void> {
        if (job.lazy->port())
            job.log.info(fmt::format("Using {} port", job.lazy->port()));
        TRY(kernel::say_ready(job.request.status_fd));
        TRY(job.notifier.tell("status-ready", job.request.root));
        TRY_CTX(job.lazy->serve(dump.left), "memory on demand");
        return {};
    });
}

Result<void> outlive(FrozenDump &dump) {
    return have_kinds(&resource::FileKind::outlive, dump);
}

Result<void> leave_tree(FrozenDump &dump) {
    if (!dump.tree_survives()) {
        TRY(dump.tree.kill());
        dump.notice.tree_has_ended();
        dump.clock.done();
    } else if (!dump.runs_again)
        TRY(let_go_on(dump));
    kernel::take_interruptions(); // too late to be obeyed
    dump.plugins.succeeded();
    return {};
}

/// The next dump builds on this one, or nothing of us stays in the tree.
Result<void> leave_notes(FrozenDump &dump) {
    if (!dump.tree_survives())
        return {};
    const Result<void> noted = dump.at_home([&] {
        return dump.increments.tracks() ? dump.increments.notes().leave(dump.run_id) : dump.increments.notes().end();
    });
    if (!noted)
        dump.job.log.warn(fmt::format("tracking: {}: the next dump will be a full one", noted.error().message()));
    return {};
}

Result<void> drop_superseded(FrozenDump &dump) {
    dump.increments.drop_superseded(dump.request.images_dir_fd);
    return {};
}

Result<void> tell_of_end(FrozenDump &dump) {
    dump.written = TRY(write_statistics(dump.clock, dump.memory->statistics, dump.request.work_dir_fd));
    warn_of_removed(*dump.images, dump.job.log);
    dump.job.log.info("Dumping finished successfully");
    return {};
}

} // namespace dump
