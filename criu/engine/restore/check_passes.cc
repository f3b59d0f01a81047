// The first passes of a restore: nothing is made, and everything that shows from the images and the machine is refused.
#include "criu/engine/restore/hard_limits.hh"
#include "criu/engine/restore/memory_checks.hh"
#include "criu/engine/restore/namespaces.hh"
#include "criu/engine/restore/print_plan.hh"
#include "criu/engine/restore/restore_run.hh"
#include "criu/engine/restore/surroundings.hh"

namespace restore {

Result<void> compile(RestoreRun &run) {
    run.draft =
        TRY(make_draft(run.request.images_dir_fd, run.request.files.shell_job, plan::Haste::No, run.request.supplier));
    return {};
}

Result<void> check_machine(RestoreRun &run) {
    const plan::Checkpoint &checkpoint = run.checkpoint();
    TRY(check_cpu(checkpoint));
    TRY(check_probes(checkpoint, run.request.allow_uprobes));
    TRY(check_processor(checkpoint, run.request.processor, run.log));
    TRY(check_namespaces(checkpoint, run.request.namespaces));
    return check_numbers(checkpoint);
}

Result<void> print_plan(RestoreRun &run) {
    if (!run.request.print_plan)
        return {};
    run.outcome.root = base::Pid(static_cast<pid_t>(run.checkpoint().root().pid));
    run.outcome.plan =
        TRY(print_plan(run.checkpoint(), run.draft.topology, run.draft.files, run.draft.spaces, run.draft.around));
    return {};
}

Result<void> check_room(RestoreRun &run) {
    TRY(check_memory(run.checkpoint(), run.draft.spaces, run.request.lazy_pages));
    TRY(check_descriptors(run.checkpoint(), run.draft.files));
    return fit_limits(*run.draft.checkpoint, run.request.lower_limits, run.log);
}

Result<void> check_caller(RestoreRun &run) {
    TRY(check_given(run.request.files.inherit_fds));
    TRY(check_capabilities(run.checkpoint(), run.request.withhold_capabilities));
    return check_groups(run.checkpoint());
}

Result<void> find_given_namespaces(RestoreRun &run) {
    run.given = TRY(GivenNamespaces::find(run.checkpoint(), run.request));
    if (has_own(run.checkpoint(), tree::NamespaceKind::Pid)) // in which all ids are free
        return {};
    return check_pids(run.checkpoint(), run.draft.topology);
}

Result<void> check_clocks(RestoreRun &run) {
    run.needs_own_clocks = has_own_clocks(run.checkpoint()) ||
                           TRY(clock_is_behind(run.checkpoint(), run.request.withhold_capabilities, run.log));
    return {};
}

} // namespace restore
