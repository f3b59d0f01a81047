// One restore: what its passes share, and the passes. restore.cc has their order.
//
// check_passes.cc: what can be refused before anything is made; barriers.cc: how the tree comes into being, stage by
// stage; run_passes.cc: how it begins to run.
#pragma once

#include "base/journal.hh"
#include "criu/engine/outcome.hh"
#include "criu/engine/restore/context.hh"
#include "criu/engine/restore/coordinator.hh"
#include "criu/engine/restore/draft.hh"
#include "criu/engine/restore/lazy_link.hh"
#include "criu/engine/restore/network.hh"
#include "criu/engine/restore/number_clerk.hh"
#include "criu/engine/restore/restored_threads.hh"
#include "criu/engine/restore/statistics.hh"
#include "criu/engine/restore/sysv_keeper.hh"
#include "criu/resource/cgroup/cgroup.hh"

#include <optional>

namespace restore {

/// What the passes share. When a restore fails, the members end in reverse order, each taking back what it has made:
/// the tree while its namespaces have what is outside, its groups when nobody is in them any more.
struct RestoreRun {
    const engine::RestoreRequest &request;
    engine::Notifier &notifier;
    base::Log &log;

    Draft draft{};
    GivenNamespaces given{};
    bool needs_own_clocks = false;
    std::optional<RestoreClock> clock{};
    std::optional<kernel::Plugins> plugins{};
    std::optional<RestoreContext> context{};
    std::optional<LazyLink> lazy{};
    std::optional<NetworkLock> network{};
    std::optional<resource::cgroup::Groups> groups{};
    std::optional<Coordinator> coordinator{};
    std::optional<SysvKeeper> segments{};
    std::optional<NumberClerk> clerk{}; ///< while tasks are made
    base::Journal journal{};            ///< of what is outside of the tree
    std::optional<RestoredThreads> threads{};
    engine::RestoreOutcome outcome{};

    const plan::Checkpoint &checkpoint() const { return *draft.checkpoint; }
    bool is_over() const { return !outcome.plan.empty(); } ///< --print-plan
};

// check_passes.cc
Result<void> compile(RestoreRun &run);
Result<void> check_machine(RestoreRun &run);
Result<void> print_plan(RestoreRun &run);
Result<void> check_room(RestoreRun &run);
Result<void> check_caller(RestoreRun &run);
Result<void> find_given_namespaces(RestoreRun &run);
Result<void> check_clocks(RestoreRun &run);

// barriers.cc
Result<void> tell_pre_restore(RestoreRun &run);
Result<void> open_context(RestoreRun &run);
Result<void> lock_network(RestoreRun &run);
Result<void> make_groups(RestoreRun &run);
Result<void> start_helpers(RestoreRun &run);
Result<void> rebuild(RestoreRun &run);

// run_passes.cc
Result<void> place_in_groups(RestoreRun &run);
Result<void> tell_post_restore(RestoreRun &run);
Result<void> take_threads(RestoreRun &run);
Result<void> tell_devices(RestoreRun &run);
Result<void> write_pidfile(RestoreRun &run);
Result<void> begin_lazy_pages(RestoreRun &run);
Result<void> heed_signals(RestoreRun &run);
Result<void> unlock_network(RestoreRun &run);
Result<void> remove_links(RestoreRun &run);
Result<void> release_files(RestoreRun &run);
Result<void> release_threads(RestoreRun &run);
Result<void> keep_everything(RestoreRun &run);
Result<void> drop_pages(RestoreRun &run);
Result<void> tell_of_end(RestoreRun &run);

} // namespace restore
