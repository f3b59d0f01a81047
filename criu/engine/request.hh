// What the engines are asked for, as plain values. The fronts (command line, RPC) make them; nothing here knows how the
// user said it. Descriptors belong to the caller.
#pragma once

#include "base/ids.hh"
#include "criu/kernel/plugins.hh"
#include "criu/pages/compression.hh"
#include "criu/pages/link.hh"
#include "criu/resource/cgroup/options.hh"
#include "criu/resource/file/options.hh"
#include "criu/resource/namespace/options.hh"
#include "criu/resource/task/processor_care.hh"

#include <fcntl.h>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace image {
enum class Layout;
class Supplier;
} // namespace image

namespace pages {
class ImageStream;
}

namespace engine {

struct Progress; // progress.hh

/// How writes to the memory of a tree are noted between two dumps.
enum class TrackMethod : uint8_t { Auto, WriteProtection, SoftDirty, Off };

/// A dump that builds on an earlier one, or that a later one may build on.
struct Increment {
    std::string previous;      ///< directory of the earlier images, relative to the new ones; empty: none
    bool track_memory = false; ///< note writes from now on
    TrackMethod method = TrackMethod::Auto;
    bool track_shared = false; ///< shared memory too: pages equal to those of the earlier images are not written again
    int pidfd_store = -1;      ///< a socket that keeps pidfds of the tree from round to round; -1: none
    bool dedup = false;        ///< pages of the earlier images that are written again are punched out there
};

/// How a dump that leaves the tree running takes its memory. Fork: from forked copies, while the tree runs; Precopy:
/// before the stop, while the tree runs; Off: while it stands.
enum class SnapshotMethod : uint8_t { Auto, Fork, Precopy, Off };

struct DumpRequest {
    base::Pid root{0};
    int images_dir_fd = -1;
    int work_dir_fd = AT_FDCWD;    ///< where stats-dump goes
    unsigned timeout_seconds = 10; ///< for stopping the tree; 0 = none
    bool leave_stopped = false, leave_running = false;
    bool verify = true; ///< plan the restore of what was written before the tree ends
    Increment increment;
    std::string freezer; ///< directory of a control group that is frozen first; empty: none
    resource::cgroup::Options cgroups;
    std::vector<int> skip_fds; ///< descriptors left out, in every task
    image::Layout layout{};    ///< image::Layout::Current
    resource::FileOptions files;
    resource::NamespaceOptions namespaces;
    kernel::Plugins::Settings plugins;
    bool note_processor = false;            ///< write cpuinfo.img
    bool allow_uprobes = false;             ///< leave out what the kernel has mapped for probes in the tasks
    std::optional<pages::Link> page_server; ///< takes pagemaps and pages instead of the directory
    std::optional<pages::Link> lazy; ///< memory that may come later stays in the tasks; whoever connects here gets it
    std::optional<int> status_fd;    ///< told when somebody can
    pages::Compression compression;
    SnapshotMethod snapshot = SnapshotMethod::Auto;
    std::optional<uint64_t> snapshot_memory; ///< bytes that copies may take at worst
    bool durable = false;                    ///< the images are on the disk before the tree ends
    /// Takes memory as it is read, and the files of images_dir_fd in the end. Null: they stay where they are.
    std::shared_ptr<pages::ImageStream> stream;
    Progress *progress = nullptr; ///< null: nobody watches
};

struct PreDumpRequest {
    DumpRequest dump; ///< which tree, where to, how it is stopped
    /// Splice: also memory that the task itself may not read. Read: not that; the dump that follows writes it.
    enum class Mode : uint8_t { Splice = 1, Read = 2 } mode = Mode::Splice; ///< numbers of the image
};

struct RestoreRequest {
    int images_dir_fd = -1;
    int work_dir_fd = AT_FDCWD; ///< where stats-restore and the pid file go
    bool leave_stopped = false;
    bool detached = false;      ///< we will not wait for the tree
    bool sibling = false;       ///< the root becomes a child of our parent
    bool become_parent = false; ///< the caller goes on as another program (--exec-cmd), as the root's parent
    resource::cgroup::Options cgroups;
    bool withhold_capabilities = false; ///< refuse tasks that have any
    bool allow_uprobes = false;         ///< the tasks of the dump were probed
    bool lower_limits = false;          ///< hard limits above ours become ours
    bool lazy_pages = false;            ///< memory that may come later is left to the daemon in the work directory
    bool drop_pages = false;            ///< saved pages are dropped once the tree runs: there is no second restore
    unsigned unpackers = 0;  ///< threads of a process that unpack what is compressed; 0: as many as are worth it
    bool print_plan = false; ///< only say what would be done
    resource::ProcessorCare processor;         ///< what of cpuinfo.img has to fit, where there is one
    std::string pidfile;                       ///< empty: none
    std::shared_ptr<image::Supplier> supplier; ///< has what images_dir_fd does not hold yet; may be null
    Progress *progress = nullptr;              ///< null: nobody watches
    std::string process_logs; ///< each process logs into this name with .PID behind it; empty: they share the log
    resource::FileOptions files;
    resource::NamespaceOptions namespaces;
    kernel::Plugins::Settings plugins;
};

/// Of a page server that receives: see criu/engine/page_server.
struct PageServerRequest {
    int images_dir_fd = -1;
    pages::Link link;
    bool daemon = false;          ///< go on in the background once somebody can connect
    std::string pidfile;          ///< empty: none
    std::optional<int> status_fd; ///< told when somebody can connect
    bool lazy = false;            ///< serve the images of the directory instead of writing some
    std::string previous;         ///< directory of the images before, from the new one; empty: none
    bool durable = false;         ///< what came is on the disk before the sender is told so
};

/// Of the daemon of lazy restores: see criu/engine/lazy.
struct LazyPagesRequest {
    int images_dir_fd = -1;
    std::optional<pages::Link> page_server; ///< has what is not in the directory
    bool daemon = false;                    ///< go on in the background once the restore can connect
    std::string pidfile;                    ///< empty: none
    std::optional<int> status_fd;           ///< told when the restore can connect
    int caller = -1;                        ///< its end means that no restore will connect; -1: somebody will
};

/// Images that build on others become ones that build on none: see criu/engine/images.
struct MergeRequest {
    int images_dir_fd = -1;
    std::string into; ///< directory that is made, or empty; relative to the images
    pages::Compression compression;
};

/// A tree goes to another machine: see criu/engine/migrate.
struct MigrateRequest {
    DumpRequest dump;
    pages::Link to;
    uint64_t most_stall_ms = 0; ///< rounds go on until the tree will stand no longer than this, or they are no use
};

/// And is taken there.
struct ReceiveRequest {
    RestoreRequest restore;
    int images_dir_fd = -1; ///< what comes lies here until the tree runs
    pages::Link link;
    std::optional<int> status_fd; ///< told when somebody can connect
    /// Starts what brings memory of these images to a tree that runs already (restore.lazy_pages); it gives up when the
    /// descriptor is closed. It has opened the images when it returns. Empty: memory is there first.
    std::function<base::Result<base::UniqueFd>(int images_dir_fd)> start_daemon;
};

struct CheckRequest {
    std::vector<std::string> features; ///< empty: everything of the categories asked for
    bool extra = false, experimental = false;
    bool unprivileged = false; ///< what only a privilege is missing for does not count
};

} // namespace engine
