// The story of a restore, from top to bottom: the table of passes. The stages in which the tree comes into being are a
// table of their own, in barriers.cc.

#include "criu/engine/restore/restore.hh"

#include "criu/engine/pass.hh"
#include "criu/engine/restore/restore_run.hh"

namespace restore {
namespace {

/// What a failure means.
enum class Phase {
    Check, ///< nothing was made
    Build, ///< everything that was made ends, and is taken back
    Run,   ///< the tree begins to run: from its release on nothing is taken back
};

constexpr engine::Pass<Phase, RestoreRun> kPasses[] = {
    {Phase::Check, "the images are compiled into a plan", compile},
    {Phase::Check, "whether this processor and this kernel have what the tree uses", check_machine},
    {Phase::Check, "--print-plan ends here", print_plan},
    {Phase::Check, "whether memory, descriptors and limits suffice", check_room},
    {Phase::Check, "whether the caller has given and may do what is needed", check_caller},
    {Phase::Check, "which namespaces are given, whether the ids are free", find_given_namespaces},
    {Phase::Check, "whether a boot lies in between", check_clocks},
    // From here on there is something to take back.
    {Phase::Build, "scripts hear of it", tell_pre_restore},
    {Phase::Build, "the coordinator sets up its page and its plugins", open_context},
    {Phase::Build, "the network is locked", lock_network},
    {Phase::Build, "control groups are made", make_groups},
    {Phase::Build, "helpers are started", start_helpers},
    {Phase::Build, "the tree is built, barrier by barrier", rebuild},
    {Phase::Build, "tasks are put into their control groups", place_in_groups},
    {Phase::Build, "scripts may still say no", tell_post_restore},
    {Phase::Build, "threads get registers, signal masks and credentials", take_threads},
    {Phase::Build, "plugins resume devices", tell_devices},
    {Phase::Build, "the pid file", write_pidfile},
    {Phase::Build, "the daemon of lazy pages may bring what nobody has asked for", begin_lazy_pages},
    {Phase::Build, "signals are heeded for the last time", heed_signals},
    // Nothing may refuse from here on.
    {Phase::Run, "the network is unlocked", unlock_network},
    {Phase::Run, "names that the dump made are removed", remove_links},
    {Phase::Run, "files let go what was held back", release_files},
    {Phase::Run, "the threads go", release_threads},
    {Phase::Run, "what was made stays", keep_everything},
    {Phase::Run, "saved pages are dropped, if that was asked for", drop_pages},
    {Phase::Run, "scripts and statistics", tell_of_end},
};
static_assert(engine::phases_ascend(kPasses));

} // namespace

base::Result<engine::RestoreOutcome> run(const engine::RestoreRequest &request, engine::Notifier &notifier,
                                         base::Log &log) {
    RestoreRun run{.request = request, .notifier = notifier, .log = log};
    Phase reached = Phase::Check;
    TRY_CTX(engine::run_passes(kPasses, run, log, "restore", reached), "restore");
    return std::move(run.outcome);
}

} // namespace restore
