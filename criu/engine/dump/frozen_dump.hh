// The dump of a tree that stands still: what its passes share, and the passes. dump.cc has their order.
//
// fact_passes.cc: what there is to know, and what cannot be saved; image_passes.cc: what is written; end_passes.cc: how
// the tree ends, or goes on.
#pragma once

#include "compel/freezer.hh"
#include "criu/engine/dump/increments.hh"
#include "criu/engine/dump/left_memory.hh"
#include "criu/engine/dump/mappings.hh"
#include "criu/engine/dump/page_sender.hh"
#include "criu/engine/dump/precopy.hh"
#include "criu/engine/dump/snapshot.hh"
#include "criu/engine/dump/statistics.hh"
#include "criu/engine/dump/task_dump.hh"
#include "criu/engine/notifier.hh"
#include "criu/engine/outcome.hh"
#include "criu/engine/request.hh"
#include "criu/kernel/namespaces.hh"
#include "criu/resource/cgroup/cgroup.hh"
#include "criu/resource/task/timed_polls.hh"

#include <optional>

namespace dump {

/// What is wanted, and who is told.
struct Job {
    const engine::DumpRequest &request;
    engine::Notifier &notifier;
    base::Log &log;
    std::string own_groups; ///< /proc/self/cgroup as we were started: a child that outlives the caller leaves them
    std::unique_ptr<pages::PageSink> page_server; ///< connected before the tree is stopped; null: into the directory
    std::unique_ptr<LazyServer> lazy;             ///< for memory that stays in the tasks meanwhile
};

/// How memory is taken, and what of it was copied before the tree was stopped for good.
struct TakenAhead {
    SnapshotWay way = SnapshotWay::InStop;
    std::unique_ptr<Precopy> memory; ///< null: none
};

/// That the network is locked concerns who has made one for the tree: its end is told as well, unless the tree ends.
class NetworkNotice {
public:
    explicit NetworkNotice(const Job &job) : job_(job) {}
    NetworkNotice(const NetworkNotice &) = delete;
    ~NetworkNotice();
    Result<void> give();
    void tree_has_ended() { given_ = false; }

private:
    const Job &job_;
    bool given_ = false;
};

/// What the passes share. Later members may refer to earlier ones.
struct FrozenDump {
    const Job &job;
    kernel::Plugins &plugins;
    compel::FrozenTree &tree;
    MappingReader mappings;
    resource::TimedPolls &polls;
    Increments &increments;
    TakenAhead &ahead;
    DumpClock &clock;

    engine::DumpRequest request{job.request}; ///< with what the caller adds when he is asked
    NetworkNotice notice{job};
    uint64_t uptime_us = 0; ///< when the tree stood still

    // Facts.
    std::vector<tree::TaskFacts> tasks{};
    tree::Namespaces namespaces{};
    resource::cgroup::Sets groups{};
    tree::PidMap pids{};

    // Images.
    std::string run_id{};
    std::optional<image::ImageDirWriter> images{};
    std::unique_ptr<pages::PageSink> directory{};
    /// What the tool asks about sockets, and how it locks their network, it does from inside.
    std::optional<kernel::NetworkVisit> visit{};
    resource::TreeMounts mounts{};
    std::optional<resource::Networks> networks{};
    LeftMemory left{};
    std::unique_ptr<Snapshot> snapshot{};
    MemoryStatistics statistics{};
    std::optional<resource::FileDumpContext> files{};
    std::optional<FileTable> table{};
    std::optional<MemoryDumpContext> memory{};

    bool runs_again = false; ///< the tree went on before its memory was written
    int script_status = 0;
    img::dump_stats_entry written{}; ///< the statistics as they were written

    bool is_over() const { return script_status != 0; } ///< a script says no
    bool tree_survives() const { return request.files.tree_survives; }
    bool is_snapshot() const { return snapshot && !snapshot->is_empty(); }
    pages::PageSink &sink() const { return job.page_server ? *job.page_server : *directory; }
    /// Runs `body` where the caller is: programs of his.
    template <class Body> auto at_home(Body &&body) { return visit ? visit->outside(body) : body(); }
    /// Tells the plugins of each task that is no zombie.
    Result<void> tell_of_each(kernel::PluginMoment moment) const;
};

// fact_passes.cc
Result<void> tell_plugins(FrozenDump &dump);
Result<void> announce_lock(FrozenDump &dump);
Result<void> ask_for_names(FrozenDump &dump);
Result<void> learn(FrozenDump &dump);
Result<void> check_tree(FrozenDump &dump);
Result<void> learn_groups(FrozenDump &dump);
Result<void> open_images(FrozenDump &dump);
Result<void> open_surroundings(FrozenDump &dump);

// image_passes.cc
Result<void> link_parent(FrozenDump &dump);
Result<void> write_tasks(FrozenDump &dump);
Result<void> write_files(FrozenDump &dump);
Result<void> write_namespaces(FrozenDump &dump);
Result<void> finish_pages(FrozenDump &dump);
Result<void> take_what_changes_the_tree(FrozenDump &dump);
Result<void> tell_plugins_late(FrozenDump &dump);
Result<void> write_surroundings(FrozenDump &dump);
Result<void> let_snapshot_go_on(FrozenDump &dump);
Result<void> write_snapshot(FrozenDump &dump);
Result<void> write_inventory(FrozenDump &dump);
Result<void> verify(FrozenDump &dump);

// end_passes.cc
Result<void> heed_signals(FrozenDump &dump);
Result<void> send_images(FrozenDump &dump);
Result<void> prepare_to_kill(FrozenDump &dump);
Result<void> send_rest(FrozenDump &dump);
Result<void> run_script(FrozenDump &dump);
Result<void> give_left_memory(FrozenDump &dump);
Result<void> outlive(FrozenDump &dump);
Result<void> leave_tree(FrozenDump &dump);
Result<void> leave_notes(FrozenDump &dump);
Result<void> drop_superseded(FrozenDump &dump);
Result<void> tell_of_end(FrozenDump &dump);

/// Takes back what was made outside of the image directory; the images as well, if the dump `failed`.
void take_back(FrozenDump &dump, bool failed);
/// The tree goes on, or stays stopped, as is wanted: nothing of ours is among its files.
Result<void> let_go_on(FrozenDump &dump);

} // namespace dump
