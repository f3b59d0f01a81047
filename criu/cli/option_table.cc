#include "criu/cli/option_table.hh"

#include "criu/cli/option_values.hh"

#include <algorithm>
#include <array>

namespace cli {

namespace {

using namespace values;

constexpr auto kNeeds = Arg::Required;
constexpr auto kMay = Arg::Optional;
constexpr auto kLater = Support::Later;

// What an option is on the first lines, what it does on the last.
// clang-format off
constexpr std::array kOptions{
    // The tree
    OptionRow{.name = "tree", .letter = 't', .arg = kNeeds, .metavar = "PID", .group = Group::Tree,
              .where = kDump | kPreDump | kCheck | kMigrate, .set = number_in<&Options::tree, 1, INT32_MAX>,
              .help = "Root process of the tree to dump, or to look at with check."},
    OptionRow{.name = "leave-stopped", .letter = 's', .group = Group::Tree, .where = kDump | kRestore,
              .set = flag<&Options::leave_stopped>,
              .help = "Leave the tasks stopped, not killed after a dump and not running after a restore."},
    OptionRow{.name = "leave-running", .letter = 'R', .group = Group::Tree, .where = kDump,
              .set = flag<&Options::leave_running>,
              .help = "Let the tasks go on after the dump."},
    OptionRow{.name = "verify", .extension = true, .negatable = true, .group = Group::Tree, .where = kDump,
              .set = flag<&Options::verify>,
              .help = "Plan the restore of what was written before the tree ends: a dump whose images could not be "
                      "restored here fails, and the tree goes on. This is the default."},
    OptionRow{.name = "restore-detached", .letter = 'd', .negatable = true, .group = Group::Tree, .where = kRestore,
              .set = flag<&Options::restore_detached>,
              .help = "Exit once the tree runs instead of waiting for it."},
    OptionRow{.name = "restore-sibling", .letter = 'S', .negatable = true, .group = Group::Tree, .where = kRestore,
              .set = flag<&Options::restore_sibling>,
              .help = "Make the root of the tree a child of the caller; needs -d."},
    OptionRow{.name = "exec-cmd", .group = Group::Tree, .where = kRestore, .set = flag<&Options::exec_cmd>,
              .help = "Become the command given after -- once the tree runs, as its parent."},
    OptionRow{.name = "daemon", .negatable = true, .group = Group::Tree, .where = kService | kPageServer | kLazyPages, .set = flag<&Options::daemon>,
              .help = "Go to the background."},
    OptionRow{.name = "shell-job", .letter = 'j', .negatable = true, .group = Group::Tree, .where = kDump | kRestore,
              .set = flag<&Options::shell_job>,
              .help = "Accept a tree whose session or terminal belongs to a shell outside of it."},
    OptionRow{.name = "freeze-cgroup", .arg = kNeeds, .metavar = "PATH", .group = Group::Tree,
              .where = kDump | kPreDump,
              .set = text<&Options::freeze_cgroup>,
              .help = "Freeze through this cgroup (version 1 freezer or version 2) instead of task by task."},
    OptionRow{.name = "timeout", .arg = kNeeds, .metavar = "SECONDS", .group = Group::Tree, .where = kDump | kPreDump,
              .set = timeout,
              .help = "Give up if the tree cannot be stopped in this time; 0 waits for ever. Default: 10."},
    OptionRow{.name = "print-plan", .extension = true, .group = Group::Tree, .where = kRestore,
              .set = flag<&Options::print_plan>,
              .help = "Print what every task would do, and create nothing."},
    OptionRow{.name = "lower-limits", .extension = true, .group = Group::Tree, .where = kRestore,
              .set = flag<&Options::lower_limits>,
              .help = "Where a task had a higher hard limit than this process may give, give it that of this process."},
    OptionRow{.name = "skip-fd", .extension = true, .arg = kNeeds, .metavar = "N", .group = Group::Tree, .where = kDump,
              .set = skip_fd,
              .help = "Leave descriptor N out of the dump in every task; repeatable."},
    OptionRow{.name = "allow-loss", .extension = true, .arg = kNeeds, .metavar = "KIND[,KIND]", .group = Group::Tree,
              .where = kDump | kCheck, .set = allow_loss,
              .help = "Go on without state that cannot be kept, and that refuses the dump otherwise: keyrings (keys of a "
                      "session, process or thread), landlock (rules that a task is under), sem-undo (what the end of a "
                      "task does to semaphores, where that cannot be kept), netlink-answers (that nobody has read). "
                      "Repeatable."},
    OptionRow{.name = "allow-uprobes", .negatable = true, .group = Group::Tree, .where = kDump | kRestore,
              .set = flag<&Options::allow_uprobes>,
              .help = "Accept tasks that somebody probes with uprobes. The probes have to be set at the restore as well:"
                      " else the tasks end by SIGTRAP."},
    // Images, logs
    OptionRow{.name = "images-dir", .letter = 'D', .arg = kNeeds, .metavar = "DIR", .group = Group::Files,
              .set = text<&Options::images_dir>,
              .help = "Folder of the images. Default: the current one."},
    OptionRow{.name = "work-dir", .letter = 'W', .arg = kNeeds, .metavar = "DIR", .group = Group::Files,
              .set = text<&Options::work_dir>,
              .help = "Folder for logs, statistics and pid files. Default: that of the images."},
    OptionRow{.name = "log-file", .letter = 'o', .arg = kNeeds, .metavar = "FILE", .group = Group::Files,
              .set = text<&Options::log_file>,
              .help = "Log file, relative to the work folder; - is standard output. Default: standard error."},
    OptionRow{.name = "verbosity", .letter = 'v', .arg = kMay, .metavar = "N", .group = Group::Files,
              .set = verbosity,
              .help = "0 nothing, 1 errors, 2 warnings, 3 information with times, 4 everything. Without N one more,"
                      " so does every further v. Default: 2."},
    OptionRow{.name = "log-pid", .negatable = true, .group = Group::Files, .where = kRestore,
              .set = flag<&Options::log_pid>,
              .help = "One log file for every restored process: that of --log-file with .PID behind it."},
    OptionRow{.name = "display-stats", .negatable = true, .group = Group::Files, .where = kDump | kRestore,
              .set = flag<&Options::display_stats>,
              .help = "Print counts and times at the end."},
    OptionRow{.name = "progress", .extension = true, .negatable = true, .group = Group::Files,
              .where = kDump | kPreDump | kRestore | kMigrate, .set = progress,
              .help = "Show on standard error how far memory has come: bytes, rate, rounds, what the tree writes "
                      "meanwhile. Default: where that is a terminal and nothing but warnings is logged there."},
    OptionRow{.name = "pidfile", .arg = kNeeds, .metavar = "FILE", .group = Group::Files,
              .where = kRestore | kService | kPageServer | kLazyPages | kReceive, .set = text<&Options::pidfile>,
              .help = "Write the pid of the restored root process, or of the service or server, to FILE."},
    OptionRow{.name = "status-fd", .arg = kNeeds, .metavar = "FD", .group = Group::Files,
              .where = kDump | kService | kPageServer | kLazyPages | kReceive, .set = number_in<&Options::status_fd, 0, INT32_MAX>,
              .help = "Write a zero byte to FD and close it when ready to serve."},
    OptionRow{.name = "close", .arg = kNeeds, .metavar = "FD", .group = Group::Files,
              .set = number_in<&Options::close_fd, 0, INT32_MAX>,
              .help = "Close this descriptor before anything else."},
    OptionRow{.name = "image-layout", .extension = true, .arg = kNeeds, .metavar = "LAYOUT", .group = Group::Files,
              .where = kDump, .set = image_layout,
              .help = "current: the files that CRIU 4.x writes; split: one file per kind of object. Default: "
                      "current."},
    OptionRow{.name = "stream", .negatable = true, .group = Group::Files, .where = kDump | kPreDump | kRestore,
              .set = flag<&Options::stream>,
              .help = "Exchange images with criu-image-streamer, whose sockets are in the folder of images."},
    OptionRow{.name = "encrypt", .extension = true, .arg = kNeeds, .metavar = "KEYFILE", .group = Group::Files,
              .where = kDump | kRestore, .set = text<&Options::key_file>,
              .help = "Encrypt a stream of images (-D -) by a key of at least 32 random bytes in KEYFILE; of a restore: the "
                      "key that it was written with."},
    OptionRow{.name = "sync", .extension = true, .group = Group::Files, .where = kDump | kPreDump | kPageServer,
              .set = flag<&Options::sync>,
              .help = "Have the images reach the disk before the tree ends: the files, then the inventory, then the folder."},
    // Objects of the tasks
    OptionRow{.name = "external", .arg = kNeeds, .metavar = "OBJECT", .group = Group::Objects,
              .where = kDump | kRestore, .set = external,
              .help = "An object outside of the tree that is not saved: file[MNT:INODE], tty[RDEV:DEV], unix[INODE], "
                      "net[INODE]:KEY and pid[INODE]:KEY (namespaces that --inherit-fd gives back), "
                      "mnt[MOUNTPOINT]:KEY (restore: mnt[KEY]:PATH), dev[MAJOR/MINOR]:NAME (restore: dev[NAME]:PATH); "
                      "mnt[] finds mounts that show the caller's, with :m also those that follow them, with :s shared "
                      "ones. Repeatable."},
    OptionRow{.name = "inherit-fd", .arg = kNeeds, .metavar = "fd[N]:KEY", .group = Group::Objects, .where = kRestore,
              .set = inherit_fd,
              .help = "Use the caller's descriptor N where the tree had the object KEY. Repeatable."},
    OptionRow{.name = "root", .letter = 'r', .arg = kNeeds, .metavar = "PATH", .group = Group::Objects,
              .where = kDump | kRestore, .set = text<&Options::root>,
              .help = "Root folder of the tree; a mount point."},
    OptionRow{.name = "link-remap", .negatable = true, .group = Group::Objects, .where = kDump | kRestore,
              .set = flag<&Options::link_remap>,
              .help = "Save a deleted file that has another name by linking it to a temporary one."},
    OptionRow{.name = "ghost-limit", .arg = kNeeds, .metavar = "SIZE", .group = Group::Objects, .where = kDump,
              .set = ghost_limit,
              .help = "Largest deleted file whose contents go into the images; K, M, G are understood. Default: 1M."},
    OptionRow{.name = "ghost-fiemap", .negatable = true, .group = Group::Objects, .where = kDump,
              .set = flag<&Options::ghost_fiemap>,
              .help = "Find the holes of deleted files by their extents. Default: on."},
    OptionRow{.name = "evasive-devices", .negatable = true, .group = Group::Objects, .where = kDump | kRestore,
              .set = flag<&Options::evasive_devices>,
              .help = "Accept any path to a device of the same number where the old one is gone."},
    OptionRow{.name = "file-locks", .letter = 'l', .negatable = true, .group = Group::Objects,
              .where = kDump | kRestore | kCheck, .set = flag<&Options::file_locks>,
              .help = "Save and restore file locks and leases; without it they refuse the dump."},
    OptionRow{.name = "force-irmap", .negatable = true, .group = Group::Objects, .where = kDump | kPreDump,
              .set = flag<&Options::force_irmap>,
              .help = "Search paths of watched inodes even where their handles can be opened."},
    OptionRow{.name = "irmap-scan-path", .arg = kNeeds, .metavar = "PATH", .group = Group::Objects,
              .where = kDump | kPreDump,
              .set = texts<&Options::irmap_scan_paths>,
              .help = "A further place for that search. Repeatable."},
    OptionRow{.name = "file-validation", .arg = kNeeds, .metavar = "HOW", .group = Group::Objects,
              .where = kDump | kRestore, .set = file_validation,
              .help = "How restore recognises a file: filesize, or buildid (size where a file has none). Default: "
                      "buildid."},
    OptionRow{.name = "skip-file-rwx-check", .negatable = true, .group = Group::Objects, .where = kRestore,
              .set = flag<&Options::skip_file_rwx_check>,
              .help = "Accept files whose permissions have changed."},
    OptionRow{.name = "join-ns", .letter = 'J', .arg = kNeeds, .metavar = "NS:PID|FILE", .group = Group::Objects,
              .where = kRestore, .set = join_ns,
              .help = "Let the root of the tree live in an existing namespace (net, uts, time, ipc, mnt, user) instead "
                      "of its own, of which nothing is restored then. user:FILE,UID,GID says who it is there at first. "
                      "Repeatable."},
    OptionRow{.name = "empty-ns", .arg = kNeeds, .metavar = "NS", .group = Group::Objects, .where = kDump | kRestore,
              .set = empty_ns,
              .help = "net: save and restore nothing of the network namespace; the hook setup-namespaces makes it."},
    OptionRow{.name = "skip-mnt", .arg = kNeeds, .metavar = "PATH", .group = Group::Objects, .where = kDump | kRestore,
              .set = texts<&Options::skip_mounts>,
              .help = "Leave out the mount at this mount point, and those on it. Repeatable."},
    OptionRow{.name = "enable-fs", .arg = kNeeds, .metavar = "LIST", .group = Group::Objects,
              .where = kDump | kRestore, .set = enable_fs,
              .help = "File system types, separated by commas, that are mounted anew by source and options alone, "
                      "without their contents; all: any. Repeatable."},
    OptionRow{.name = "enable-external-sharing", .group = Group::Objects, .where = kDump | kRestore,
              .set = flag<&Options::external_sharing>,
              .help = "With --external mnt[], also mounts that share with others: mnt[]:s."},
    OptionRow{.name = "enable-external-masters", .group = Group::Objects, .where = kDump | kRestore,
              .set = flag<&Options::external_masters>,
              .help = "With --external mnt[], also mounts that follow the caller's: mnt[]:m."},
    OptionRow{.name = "ext-mount-map", .letter = 'M', .arg = kNeeds, .metavar = "KEY:VALUE", .group = Group::Objects,
              .where = kDump | kRestore, .set = ext_mount_map,
              .help = "Old form of --external mnt[KEY]:VALUE; auto: of --external mnt[]."},
    OptionRow{.name = "mntns-compat-mode", .negatable = true, .group = Group::Objects, .where = kRestore,
              .set = nothing,
              .help = "CRIU has two ways of restoring mounts; here is one, which needs nothing that this would avoid."},
    OptionRow{.name = "libdir", .letter = 'L', .arg = kNeeds, .metavar = "DIR", .group = Group::Objects,
              .where = kDump | kRestore, .set = text<&Options::plugin_dir>,
              .help = "Folder of plugins. Default: $CRIU_LIBS_DIR, or /usr/lib/criu, where what cannot be loaded is "
                      "left out."},
    // Network
    OptionRow{.name = "ext-unix-sk", .letter = 'x', .arg = kMay, .metavar = "INODE,...", .group = Group::Network,
              .where = kDump | kRestore, .set = ext_unix_sk,
              .help = "Accept unix sockets whose peers are outside of the tree, all or those given."},
    OptionRow{.name = "tcp-established", .negatable = true, .group = Group::Network, .where = kDump | kRestore | kCheck,
              .set = flag<&Options::tcp_established>,
              .help = "Save and restore TCP connections; without it they refuse the dump."},
    OptionRow{.name = "tcp-close", .negatable = true, .group = Group::Network, .where = kDump | kRestore | kCheck,
              .set = flag<&Options::tcp_close>,
              .help = "Restore TCP connections as closed sockets."},
    OptionRow{.name = "skip-in-flight", .group = Group::Network, .where = kDump | kCheck,
              .set = flag<&Options::skip_in_flight>,
              .help = "Drop connections that nobody has accepted yet."},
    OptionRow{.name = "network-lock", .arg = kNeeds, .metavar = "METHOD", .group = Group::Network,
              .where = kDump | kRestore, .set = network_lock,
              .help = "How packets are held while the tree is frozen: nftables, iptables, skip. Default: nftables."},
    OptionRow{.name = "veth-pair", .arg = kNeeds, .metavar = "IN=OUT", .group = Group::Network, .where = kRestore,
              .set = veth_pair, .help = "Old form of --external veth[]."},
    OptionRow{.name = "weak-sysctls", .negatable = true, .group = Group::Network, .where = kRestore,
              .set = nothing,
              .help = "Go on if a network setting cannot be restored: that is always so, with a warning."},
    // Control groups and security modules
    OptionRow{.name = "manage-cgroups", .arg = kMay, .metavar = "MODE", .group = Group::Cgroups,
              .where = kDump | kRestore, .set = manage_cgroups,
              .help = "What happens to cgroups: none, props, soft, full, strict, ignore. Default, and without MODE: "
                      "soft."},
    OptionRow{.name = "cgroup-root", .arg = kNeeds, .metavar = "[CTL:]/PATH", .group = Group::Cgroups,
              .where = kDump | kRestore, .set = cgroup_root,
              .help = "Move the cgroups of the tree below this one."},
    OptionRow{.name = "cgroup-props", .arg = kNeeds, .metavar = "TEXT", .group = Group::Cgroups, .where = kDump,
              .set = cgroup_props,
              .help = "Properties to save besides (merge) or instead of (replace) those that are by default: "
                      "'\"cpu\":' and, each on a line, ' - \"strategy\": \"replace\"', ' - \"properties\": [\"cpu.shares\"]'. "
                      "\"\" is version 2."},
    OptionRow{.name = "cgroup-props-file", .arg = kNeeds, .metavar = "FILE", .group = Group::Cgroups, .where = kDump,
              .set = cgroup_props_file,
              .help = "As above, from a file."},
    OptionRow{.name = "cgroup-dump-controller", .arg = kNeeds, .metavar = "NAME", .group = Group::Cgroups,
              .where = kDump, .set = cgroup_controller,
              .help = "Save the groups of this controller only, as /proc/self/cgroup spells it; empty: of version 2. "
                      "Repeatable."},
    OptionRow{.name = "cgroup-yard", .arg = kNeeds, .metavar = "DIR", .group = Group::Cgroups,
              .where = kDump | kRestore, .set = text<&Options::cgroup_yard>,
              .help = "Where cgroups are mounted already: DIR/CONTROLLERS, and DIR/unified of version 2. Without it "
                      "they are mounted for the tool alone."},
    OptionRow{.name = "lsm-profile", .arg = kNeeds, .metavar = "TYPE:NAME", .group = Group::Cgroups,
              .where = kRestore, .support = kLater, .reason = "security modules",
              .help = "Profile for the restored tasks."},
    OptionRow{.name = "lsm-mount-context", .arg = kNeeds, .metavar = "CONTEXT", .group = Group::Cgroups,
              .where = kRestore, .support = kLater, .reason = "security modules",
              .help = "SELinux context of restored mounts."},
    // Memory, migration
    OptionRow{.name = "track-mem", .negatable = true, .group = Group::Memory, .where = kPreDump | kDump,
              .set = flag<&Options::track_mem>,
              .help = "Have the kernel note writes to memory from now on, so that a later dump can build on this one "
                      "(--prev-images-dir)."},
    OptionRow{.name = "track-method", .extension = true, .arg = kNeeds, .metavar = "METHOD", .group = Group::Memory,
              .where = kPreDump | kDump, .set = track_method,
              .help = "How writes are noted: write-protect, soft-dirty, off, or auto, the first of these that the "
                      "kernel has. Default: auto."},
    OptionRow{.name = "prev-images-dir", .arg = kNeeds, .metavar = "DIR", .group = Group::Memory,
              .where = kPreDump | kDump | kPageServer, .set = text<&Options::prev_images_dir>,
              .help = "Build on the images in DIR, relative to the folder of the images: memory that has not changed "
                      "since is not written again."},
    OptionRow{.name = "into", .extension = true, .arg = kNeeds, .metavar = "DIR", .group = Group::Memory,
              .where = kMerge, .set = text<&Options::into>,
              .help = "Where the merged images go: a folder that is made, or empty; relative to the folder of the images."},
    OptionRow{.name = "auto-dedup", .negatable = true, .group = Group::Memory,
              .where = kDump | kPreDump | kRestore, .set = flag<&Options::auto_dedup>,
              .help = "Dump: drop pages of earlier images that were written again. Restore: drop all pages once the tree "
                      "runs, which cannot be restored again."},
    OptionRow{.name = "snapshot", .extension = true, .arg = kNeeds, .metavar = "HOW", .group = Group::Memory,
              .where = kDump, .set = snapshot,
              .help = "With -R, how memory is saved: fork lets the tree go on at once and writes from forked copies of its "
                      "tasks; precopy copies it before the tree is stopped, and in the stop what was written since; off "
                      "writes while it stands; auto is off below 64 MiB and with action scripts, else fork where there "
                      "is room for copies and at most 1 GiB of small pages, else precopy. Default: auto."},
    OptionRow{.name = "snapshot-memory", .extension = true, .arg = kNeeds, .metavar = "SIZE", .group = Group::Memory,
              .where = kDump, .set = snapshot_memory,
              .help = "What forked copies may take at worst, if every page is written meanwhile: where that does not do "
                      "there are none. Default: what is available."},
    OptionRow{.name = "compress", .letter = 'c', .extension = true, .arg = kMay,
              .metavar = "HOW", .group = Group::Memory, .where = kDump | kPreDump | kMerge, .set = compress,
              .help = "Compress memory: lz4 (without HOW), zstd, zstd:LEVEL, or auto: lz4 if that is faster where the "
                      "images go, which is tried in the first tenth of a second."},
    OptionRow{.name = "compress-block", .extension = true, .arg = kNeeds, .metavar = "SIZE", .group = Group::Memory,
              .where = kDump | kPreDump | kMerge, .set = compress_block,
              .help = "How much is compressed together: a multiple of the page size, up to 4M. Default: 64K."},
    OptionRow{.name = "compress-region", .extension = true, .arg = kNeeds, .metavar = "SIZE", .group = Group::Memory,
              .where = kDump | kPreDump | kMerge, .set = compress_block,
              .help = "An earlier name of --compress-block."},
    OptionRow{.name = "compress-acceleration", .extension = true, .arg = kNeeds, .metavar = "N",
              .group = Group::Memory, .where = kDump | kPreDump | kMerge, .set = compress_acceleration,
              .help = "How much of the ratio LZ4 may give up for speed: 1 (default) to 65537."},
    OptionRow{.name = "decompress-threads", .extension = true, .arg = kNeeds, .metavar = "N", .group = Group::Memory,
              .where = kRestore, .set = number_in<&Options::unpackers, 0, 1024>,
              .help = "Threads of a process that unpack its memory. Default, and 0: as many as are worth it."},
    OptionRow{.name = "pre-dump-mode", .arg = kNeeds, .metavar = "MODE", .group = Group::Memory, .where = kPreDump,
              .set = pre_dump_mode,
              .help = "splice: save all memory ahead; read: not what the tasks themselves may not read, which the "
                      "dump saves. Default: splice."},
    OptionRow{.name = "page-server", .negatable = true, .group = Group::Memory,
              .where = kDump | kPreDump | kLazyPages, .set = flag<&Options::page_server>,
              .help = "Send memory to the page server at --address and --port instead of writing it into the images "
                      "folder."},
    OptionRow{.name = "address", .arg = kNeeds, .metavar = "ADDRESS", .group = Group::Memory,
              .where = kDump | kPreDump | kPageServer | kLazyPages | kService | kReceive, .set = text<&Options::address>,
              .help = "Name or number of the host of a page server, or where it listens; default: this host, for "
                      "itself alone. Of a service the path of its socket; default: criu_service.socket in the work "
                      "folder."},
    OptionRow{.name = "port", .arg = kNeeds, .metavar = "NUMBER", .group = Group::Memory,
              .where = kDump | kPreDump | kPageServer | kLazyPages | kReceive, .set = number_in<&Options::port, 1, 65535>,
              .help = "Port of the page server. A server without one takes any that is free, and logs it."},
    OptionRow{.name = "ps-socket", .arg = kNeeds, .metavar = "FD", .group = Group::Memory,
              .where = kDump | kPreDump | kPageServer | kLazyPages, .set = number_in<&Options::ps_socket, 0, INT32_MAX>,
              .help = "A connected socket instead of address and port."},
    OptionRow{.name = "instant", .extension = true, .group = Group::Memory, .where = kRestore | kReceive,
              .set = flag<&Options::instant>,
              .help = "Let the tree run before its memory is there: what a task touches comes at once, the rest follows, "
                      "brought by processes of this command that end when all is there."},
    OptionRow{.name = "lazy-pages", .group = Group::Memory, .where = kDump | kRestore | kPageServer,
              .set = flag<&Options::lazy_pages>,
              .help = "Move memory after the restore, on demand: restore leaves it to criu lazy-pages in the same work "
                      "folder; dump keeps it, and serves it at --address and --port; page-server serves that of the "
                      "images folder."},
    OptionRow{.name = "tls", .negatable = true, .group = Group::Memory, .where = kDump | kPageServer | kLazyPages | kMigrate | kReceive,
              .set = flag<&Options::tls>,
              .help = "Encrypt page connections; each side shows a certificate and verifies that of the other."},
    OptionRow{.name = "tls-cacert", .arg = kNeeds, .metavar = "FILE", .group = Group::Memory,
              .where = kDump | kPageServer | kLazyPages | kMigrate | kReceive, .set = text<&Options::tls_cacert>,
              .help = "Certificates of trusted authorities. Default: /etc/pki/CA/cacert.pem and those of the system."},
    OptionRow{.name = "tls-cacrl", .arg = kNeeds, .metavar = "FILE", .group = Group::Memory,
              .where = kDump | kPageServer | kLazyPages | kMigrate | kReceive, .set = text<&Options::tls_cacrl>,
              .help = "Revoked certificates. Default: /etc/pki/CA/cacrl.pem, if it is there."},
    OptionRow{.name = "tls-cert", .arg = kNeeds, .metavar = "FILE", .group = Group::Memory,
              .where = kDump | kPageServer | kLazyPages | kMigrate | kReceive, .set = text<&Options::tls_cert>,
              .help = "Own certificate. Default: /etc/pki/criu/cert.pem."},
    OptionRow{.name = "tls-key", .arg = kNeeds, .metavar = "FILE", .group = Group::Memory,
              .where = kDump | kPageServer | kLazyPages | kMigrate | kReceive, .set = text<&Options::tls_key>,
              .help = "Own key. Default: /etc/pki/criu/private/key.pem."},
    OptionRow{.name = "tls-no-cn-verify", .group = Group::Memory, .where = kDump | kPageServer | kLazyPages | kMigrate | kReceive,
              .set = flag<&Options::tls_no_cn_verify>,
              .help = "Do not compare the name in the certificate of the other side with --address."},
    OptionRow{.name = "to", .extension = true, .arg = kNeeds, .metavar = "HOST:PORT", .group = Group::Memory,
              .where = kMigrate, .set = destination,
              .help = "Where criu receive waits for the tree."},
    OptionRow{.name = "max-stall", .extension = true, .arg = kNeeds, .metavar = "MS", .group = Group::Memory,
              .where = kMigrate, .set = number_in<&Options::max_stall_ms, 1, 3600000>,
              .help = "Memory is copied ahead until the tree will stand no longer than this, or until that does not get "
                      "better. Default: 300."},
    OptionRow{.name = "resume-here", .extension = true, .group = Group::Memory, .where = kMigrate,
              .set = flag<&Options::resume_here>,
              .help = "Let a tree go on here that a migration has left standing, as the other side has not said whether it "
                      "runs there."},
    // check
    OptionRow{.name = "feature", .arg = kNeeds, .metavar = "NAME", .group = Group::Check, .where = kCheck,
              .set = texts<&Options::features>,
              .help = "Ask for one kernel feature; list prints all names. Repeatable."},
    OptionRow{.name = "extra", .negatable = true, .group = Group::Check, .where = kCheck,
              .set = flag<&Options::check_extra>,
              .help = "Check also what only some trees need."},
    OptionRow{.name = "experimental", .negatable = true, .group = Group::Check, .where = kCheck,
              .set = flag<&Options::check_experimental>,
              .help = "Check also what experimental parts need."},
    OptionRow{.name = "all", .group = Group::Check, .where = kCheck, .set = all_checks,
              .help = "Both."},
    OptionRow{.name = "json", .extension = true, .group = Group::Check, .where = kCheck, .set = flag<&Options::json>,
              .help = "Findings of check --tree as JSON."},
    OptionRow{.name = "ms", .group = Group::Check, .where = kCheck, .support = Support::Removed,
              .reason = "it was removed; check says what is missing by itself",
              .help = "Gone."},
    // General
    OptionRow{.name = "action-script", .arg = kNeeds, .metavar = "FILE", .where = kDump | kPreDump | kRestore,
              .set = texts<&Options::action_scripts>,
              .help = "Program to run at every stage, which it finds in CRTOOLS_SCRIPT_ACTION. Repeatable; the last"
                      " runs first."},
    OptionRow{.name = "cpu-cap", .arg = kMay, .metavar = "LIST", .where = kDump | kRestore | kCpuinfo,
              .set = cpu_cap,
              .help = "What has to be as on the processor of the dump: cpu (the model), fpu (its registers), ins (its"
                      " instructions), all, none, and ^ takes one away. A dump with the option writes cpuinfo.img, a"
                      " restore compares it where it is there: by default fpu and ins. What registers hold is checked in"
                      " any case."},
    OptionRow{.name = kConfigOption, .arg = kNeeds, .metavar = "FILE", .set = nothing,
              .help = "Read options from FILE instead of the two default files."},
    OptionRow{.name = kNoDefaultConfigOption, .set = nothing,
              .help = "Do not read the default files."},
    OptionRow{.name = "unprivileged", .negatable = true, .set = flag<&Options::unprivileged>,
              .help = "Run as an ordinary user with CAP_CHECKPOINT_RESTORE, within what that allows."},
    OptionRow{.name = "deprecated", .negatable = true, .set = flag<&Options::deprecated>,
              .help = "Allow behaviour that is on its way out."},
    OptionRow{.name = kHelpOption, .letter = 'h', .set = nothing,
              .help = "Print this text."},
    OptionRow{.name = kVersionOption, .letter = 'V', .set = nothing,
              .help = "Print the version."},
};
// clang-format on

constexpr std::array kCommands{
    CommandRow{"dump",
               "-t PID",
               Command::Dump,
               Support::Now,
               {},
               "Save a process tree into images, then kill, stop or resume it."},
    CommandRow{"restore", "", Command::Restore, Support::Now, {}, "Bring a process tree back from images."},
    CommandRow{"check",
               "[-t PID]",
               Command::Check,
               Support::Now,
               {},
               "Tell whether this kernel, or this process tree, can be checkpointed."},
    CommandRow{"crit", "ACTION ...", Command::Crit, Support::Now, {}, "Look at images and convert them; see crit(1)."},
    CommandRow{
        "pre-dump", "-t PID", Command::PreDump, Support::Now, {}, "Save memory ahead of a dump, while the tree runs."},
    CommandRow{"untrack", "-t PID", Command::Untrack, Support::Now, {}, "Stop noting writes to the memory of a tree."},
    CommandRow{"page-server", "", Command::PageServer, Support::Now, {}, "Receive pages from a dump elsewhere."},
    CommandRow{"lazy-pages", "", Command::LazyPages, Support::Now, {}, "Serve memory to restored tasks on demand."},
    CommandRow{"service", "", Command::Service, Support::Now, {}, "Serve requests on a socket."},
    CommandRow{"swrk", "FD", Command::Swrk, Support::Now, {}, "Serve the client at the other end of a socket."},
    CommandRow{"dedup",
               "",
               Command::Dedup,
               Support::Now,
               {},
               "Drop pages of earlier images that those in the folder of images hold themselves."},
    CommandRow{"merge",
               "--into DIR",
               Command::Merge,
               Support::Now,
               {},
               "Make one directory of images of one that builds on others."},
    CommandRow{
        "verify", "[DIR]", Command::Verify, Support::Now, {}, "Tell whether images are whole, without restoring them."},
    CommandRow{"migrate",
               "-t PID --to HOST:PORT",
               Command::Migrate,
               Support::Now,
               {},
               "Move a process tree to another machine, where criu receive waits for it."},
    CommandRow{"receive", "", Command::Receive, Support::Now, {}, "Take one process tree from criu migrate."},
    CommandRow{"cpuinfo",
               "dump|check",
               Command::CpuinfoDump,
               Support::Now,
               {},
               "Save the facts about the processor, or compare them with those that were saved."},
    CommandRow{"exec", "", Command::None, Support::Removed, "system calls in other tasks are done with compel",
               "Gone."},
    CommandRow{"show", "", Command::None, Support::Removed, "images are shown by crit: criu crit show FILE", "Gone."},
};

constexpr bool table_is_sound() {
    for (size_t i = 0; i < kOptions.size(); ++i) {
        const OptionRow &row = kOptions[i];
        bool now = row.support == Support::Now;
        // Setters are looked at by a unit test: with -fsanitize=undefined, g++ 12 cannot compare their addresses here.
        if (now != row.reason.empty() || row.help.empty())
            return false;
        if ((row.arg == Arg::None) != row.metavar.empty() || (row.negatable && row.arg != Arg::None))
            return false;
        for (size_t k = i + 1; k < kOptions.size(); ++k)
            if (row.name == kOptions[k].name || (row.letter && row.letter == kOptions[k].letter))
                return false;
    }
    return true;
}
static_assert(table_is_sound(), "a row contradicts itself or another one");

} // namespace

std::span<const OptionRow> option_table() {
    return kOptions;
}

std::span<const CommandRow> command_table() {
    return kCommands;
}

const CommandRow *find_command(std::string_view name) {
    auto it = std::ranges::find(kCommands, name, &CommandRow::name);
    return it == kCommands.end() ? nullptr : &*it;
}

std::string_view group_title(Group group) {
    switch (group) {
    case Group::Tree:
        return "The tree";
    case Group::Files:
        return "Images, logs and reports";
    case Group::Objects:
        return "Objects of the tasks";
    case Group::Network:
        return "Sockets and network";
    case Group::Cgroups:
        return "Control groups and security modules";
    case Group::Memory:
        return "Memory and migration";
    case Group::Check:
        return "Options of check";
    case Group::General:
        return "General";
    }
    return {};
}

} // namespace cli
