// Open files: the verbs of one kind of descriptor.
//
// A dump sees each open file description once, through a descriptor of its own that shares it (pidfd_getfd): most state
// hangs on the description, so nothing has to run in the task.
//
// A restore opens each description once as well, in the root task before the rest of the tree is forked: the others
// inherit it. What cannot exist so early (a pidfd needs its process) is opened late, by the agent of the first task
// that holds it, and fetched from there by the others.
//
//     matches(file)                is the description of this kind
//     dump(context, file, entry)   description -> message
//     finish(context)              all descriptions of the tree were seen (is every peer among them?)
//     destructive_step(context)    all else is known to be fine, and the tree will end: what changes it for good
//     before_kill(context)         all images are complete (connections go back into repair mode)
//     outlive(context)             right before the kill: what we have made outside has to stay without us
//     take_back(context, failed)   the tree lives on: what we have made outside goes
//
//     place(entry), opening        where and when it is opened, see plan/file_schedule.hh
//     carries(images, entry)       which files are on their way through this one (SCM_RIGHTS)
//     open(context, entry)         message -> descriptor
//     inherit_key(context, entry)  how the caller names it (--inherit-fd); what he gives is used as it is
//     complete(context, fd, entry) in the root task, when all files are open: what needs others (peers, passed files)
//     lead_session(context, dir)   in each session leader, before it forks (controlling terminals)
//     settle_session(context, dir) in each session leader, before settle (foreground groups)
//     settle(context, fd, entry)   in each holder, its descriptors in place (epoll's targets)
//     open_late(plan, entry)       in the first holder's agent, instead of open: all processes and threads exist
//     settle_late(plan, entry)     in the first holder's agent, when late files are in place
//     release(context, fd, entry)  by the coordinator, right before the tree runs (sockets leave repair mode)
#pragma once

#include "base/ids.hh"
#include "base/log.hh"
#include "base/result.hh"
#include "base/unique_fd.hh"
#include "criu/image/image_dir.hh"
#include "criu/image/image_writer.hh"
#include "criu/kernel/outside.hh"
#include "criu/kernel/plugins.hh"
#include "criu/plan/ops.hh"
#include "criu/resource/file/kind_state.hh"
#include "criu/resource/file/options.hh"
#include "criu/resource/socket/networks.hh"
#include "criu/resource/terminals.hh"
#include "criu/tree/facts.hh"
#include "criu/tree/numbers.hh"
#include "images_pb.hh"

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <sys/stat.h>
#include <vector>

namespace resource {

using base::FileId;
using base::Pid;
using base::Result;

// ---- dump ----------------------------------------------------------------------------------------------------------

/// One open file description.
struct OpenFile {
    FileId id;
    int fd = -1; ///< ours, shares the description
    struct stat stat {};
    uint32_t flags = 0; ///< F_GETFL
    int family = -1;    ///< of a socket: SO_DOMAIN
    uint32_t net = 0;   ///< of a socket: the image's number of its network namespace
    std::string link;   ///< what /proc/PID/fd/N points to, " (deleted)" included
    Pid holder;         ///< a task that has it open
    Pid voice;          ///< the thread of it that /proc and kcmp are asked for (tree::TaskFacts)
    int number = -1;    ///< its number there; -1: cwd, root, program or mapping
    std::string fdinfo; ///< text of /proc/PID/fdinfo/N; read for kinds that are not plain files
};

/// What an open descriptor of ours tells by itself: stat, flags and family. The descriptor stays the caller's.
Result<OpenFile> look_at(int fd);

/// Where the tree's paths lead. Of a tree in the tool's own mount namespace: to where they lead us. Where tasks below
/// the root live in others, paths are those of the file at hand: look_from() says which these are.
struct TreeMounts {
    std::string root;                         ///< what to put before a path of the tree: "" or "/proc/PID/root"
    std::set<uint32_t> ids;                   ///< of all mounts of its own namespaces; empty: it has none
    std::string home = root;                  ///< that of the root task
    std::map<uint32_t, uint64_t> elsewhere{}; ///< mounts of other namespaces than the root's -> which (inode)
    std::map<uint64_t, std::string> roots{};  ///< ... -> what to put before a path there

    bool several() const { return !roots.empty(); }
    bool at_home() const { return root == home; }
    void look_from_namespace(uint64_t inode) {
        const auto other = roots.find(inode);
        root = other == roots.end() ? home : other->second;
    }
    void look_from(uint32_t mount) {
        const auto found = elsewhere.find(mount);
        look_from_namespace(found == elsewhere.end() ? 0 : found->second);
    }

    bool own() const { return !root.empty(); }
    /// The path by which the tool gets there. It must not lead through symbolic links, which the kernel's names of open
    /// files never do.
    std::string path(const std::string &in_tree) const { return root + in_tree; }
};

/// What a look from outside at a running tree knows (`check --tree`).
struct Examined {
    const FileOptions &options;
    std::span<const tree::TaskFacts> tasks; ///< the whole tree
    const std::set<uint64_t> &sockets;      ///< inode numbers of all that the tree has open
    KindStates &states;                     ///< what a kind remembers from one file to the next
    std::vector<std::string> &warnings;     ///< what a dump would warn of losing with the file at hand
};

/// Whether the tree has a process of that id, or with `thread` a thread.
bool is_in_tree(std::span<const tree::TaskFacts> tasks, Pid id, bool thread);

/// What a dump of files needs and remembers.
struct FileDumpContext {
    const FileOptions &options;
    const kernel::Plugins &plugins;
    image::ImageDirWriter &images;
    base::Log &log;
    std::span<const tree::TaskFacts> tasks; ///< the whole tree
    const tree::Namespaces &namespaces;
    const tree::PidMap &pids;
    TreeMounts &mounts;
    Networks &networks; ///< the thread is in the one of the socket at hand, and in none in particular otherwise
    uint32_t next_file_id = 1;
    uint32_t next_ghost_id = 1;
    std::map<std::pair<uint64_t, uint64_t>, uint32_t> ghosts; ///< device and inode of a deleted file -> ghost id
    std::map<std::pair<uint64_t, uint64_t>, uint32_t>
        link_remaps;               ///< ... that still has a name -> id of the file of that name
    std::set<uint64_t> pipes_done; ///< pipes whose contents are written
    /// Dumps a description that no table may hold (SCM_RIGHTS in a queue), unless it is known; returns its id.
    std::function<Result<FileId>(base::UniqueFd)> dump_passed;
    /// Writes the contents of a memory file as pagemap-shmem-ID.
    std::function<Result<void>(uint64_t id, int fd)> dump_contents;
    KindStates states; ///< what a kind remembers from one file to the next
    /// Set by dump() of a kind that will add the entry itself, in finish() or destructive_step().
    bool postponed = false;
    uint64_t destructive_bytes =
        0; ///< how much destructive steps may write: there has to be room before they are taken

    FileId new_id() { return FileId(next_file_id++); }
};

// ---- restore -------------------------------------------------------------------------------------------------------

/// All of files.img by id.
using ImageFiles = std::map<uint32_t, img::file_entry>;

/// What stands in for files without a name of their own, by orig_id.
using Remaps = std::multimap<uint32_t, img::remap_file_path_entry>;

/// Where a file's path and address mean what they say: numbers of the images. 0: where the root task is.
struct Place {
    uint32_t net = 0;   ///< network namespace
    uint32_t ipc = 0;   ///< ipc namespace, of a message queue
    uint32_t mount = 0; ///< mount through which it was opened
    bool operator==(const Place &) const = default;
};

/// When a file is opened, among those that the root task opens for all.
enum class Opening : uint8_t {
    First, ///< others may be bound to it by name: network devices
    Any,
    Last, ///< may ask for others that are open: files of plugins
};

/// What the images tell about files before any of them is opened.
struct FileImages {
    const image::ImageDir &images;
    const ImageFiles &files;
    const Remaps &remaps;
    KindStates &states; ///< what a kind remembers from one file to the next
};

enum PipeEnd : unsigned { kReadEnd, kWriteEnd };

/// A pipe that was created (or a FIFO, whose first end has both sides): open until all descriptions of it are.
struct FreshPipe {
    base::UniqueFd ends[2];
    bool taken[2] = {}; ///< the end's own description belongs to a file of the image already
};

/// What the opening of files needs, in the root task.
struct FileOpenContext {
    const FileOptions &options;
    const kernel::Outside &outside;
    const kernel::Plugins &plugins;
    const image::ImageDir &images;
    base::Log &log;
    const ImageFiles &files;
    const Remaps &remaps;
    uint32_t net_namespace = 0; ///< of the root task, in images
    std::map<uint32_t, std::string>
        ghost_paths;                          ///< ghosts that exist now, by id; those with names are removed at the end
    std::vector<base::UniqueFd> nameless;     ///< ghosts without a name: keep their paths in /proc/self/fd
    std::map<uint64_t, FreshPipe> pipes;      ///< by pipe_id
    std::map<uint32_t, int> opened;           ///< file id -> descriptor in the root task
    std::function<bool(uint32_t id)> is_held; ///< whether a task has the file as a descriptor
    /// Reads pagemap-shmem-ID to a mapping of `size` bytes.
    std::function<Result<void>(uint64_t id, std::byte *memory, uint64_t size)> fill_contents;
    /// FileOptions::orphan_terminals: gives the caller a copy of the master.
    std::function<Result<void>(int master)> hand_over_terminal;
    Masters masters;   ///< that are open already
    KindStates states; ///< what a kind remembers from one file to the next
    KindStates kept;   ///< the same for settle(): nothing that has to end when the files are open
    /// Takes us to the namespaces in which a file's path and address mean what they say. Null: there are no others.
    std::function<Result<void>(uint32_t id)> go_to;
    /// Descriptors of the namespaces of tasks below the root, by the image's number.
    const std::map<uint32_t, base::UniqueFd> &namespaces;
    bool try_again = false; ///< set by open() of Opening::Last that wants to be called again when more files are open
};

/// What a kind may still need when the holder's descriptors are at their numbers. All processes exist and have joined
/// their groups.
struct FileSettleContext {
    base::Log &log;
    const ImageFiles &files;
    const std::map<uint32_t, int> &opened; ///< file id -> descriptor, above all numbers of tasks; early ones
    const std::map<int, uint32_t> &table;  ///< number in this task -> file id
    uint32_t pid = 0, sid = 0;             ///< of this task
    const tree::Numbers &numbers;          ///< in pid namespaces below the root's
    pid_t seen_from_here(uint32_t number) const { return static_cast<pid_t>(numbers.seen_by(pid, number)); }
    bool first_holder = false; ///< this task is the first of the tree that has the file at hand; the root task is it
                               ///< for files that no task has as a descriptor
    KindStates kept;           ///< of FileOpenContext
    bool is_held(uint32_t id) const; ///< whether this task has the file as a descriptor
};

/// Operations of the first holder's agent, for files that need processes or threads to exist.
struct LatePlan {
    plan::ThreadPlan &plan;
    int proc_fd; ///< a directory: /proc
    const ImageFiles &files;
    const Remaps &remaps;
    const std::map<int, uint32_t> &table; ///< number in this task -> file id
    const img::mm_entry &mm;
    int number;                                ///< of the file at hand
    plan::Stage stage = plan::Stage::LateOpen; ///< in which it is opened
    bool is_late(uint32_t id) const;
};

/// What the coordinator has at hand when everything is restored.
struct FileReleaseContext {
    const FileOptions &options;
    const image::ImageDir &images;
    base::Log &log;
    const Remaps &remaps;
    std::string root; ///< what to put before a path of the tree: "" or "/proc/PID/root"
    KindStates states;
};

/// What Documentation/supported.md tells about a kind, in Markdown. Null: nothing, which a unit test does not accept.
struct KindText {
    const char *saved = nullptr;
    const char *restored = nullptr; ///< how it comes back, where that is not just the same
    const char *limits = nullptr;   ///< what is refused or lost
};

struct FileKind {
    const char *name = "";
    img::fd_types type{};
    KindText about{};
    bool (*matches)(const OpenFile &);
    Result<void> (*dump)(FileDumpContext &, const OpenFile &, img::file_entry &);
    Result<void> (*finish)(FileDumpContext &) = nullptr;
    /// Only where the tree is to be killed (FileOptions::tree_survives). Whether there was anything to do: that may
    /// have brought further descriptors to light, and all kinds are asked again.
    Result<bool> (*destructive_step)(FileDumpContext &) = nullptr;
    /// Only where the tree is to be killed; a failure keeps it alive.
    Result<void> (*before_kill)(FileDumpContext &) = nullptr;
    /// Only where the tree is to be killed, when nothing else is left to be done.
    Result<void> (*outlive)(FileDumpContext &) = nullptr;
    /// `failed`: the dump did. Called once, also where nothing was made.
    void (*take_back)(FileDumpContext &, bool failed) = nullptr;
    Opening opening = Opening::Any;
    /// Null: where the root task is.
    Place (*place)(const img::file_entry &) = nullptr;
    /// Files that exist only inside of this one (on their way through a socket): opened too.
    Result<std::vector<FileId>> (*carries)(const FileImages &, const img::file_entry &) = nullptr;
    Result<base::UniqueFd> (*open)(FileOpenContext &, const img::file_entry &) = nullptr;
    /// The key by which --inherit-fd names the file. Null or empty: the caller cannot give it.
    Result<std::string> (*inherit_key)(FileOpenContext &, const img::file_entry &) = nullptr;
    Result<void> (*complete)(FileOpenContext &, int fd, const img::file_entry &) = nullptr;
    Result<void> (*settle)(FileSettleContext &, int fd, const img::file_entry &) = nullptr;
    /// In each session leader right after setsid(), before it forks: children inherit the controlling terminal.
    Result<void> (*lead_session)(FileSettleContext &, const image::ImageDir &) = nullptr;
    /// In each session leader when groups are joined, before its descriptors are placed.
    Result<void> (*settle_session)(FileSettleContext &, const image::ImageDir &) = nullptr;
    /// Whether the file is opened late. Null: never.
    bool (*late)(const img::file_entry &, const ImageFiles &, const Remaps &) = nullptr;
    /// The operation whose result is the new descriptor.
    Result<plan::OpRef> (*open_late)(LatePlan &, const img::file_entry &) = nullptr;
    Result<void> (*settle_late)(LatePlan &, const img::file_entry &) = nullptr;
    /// Of a late file: whether it keeps the credentials of who opens it. Such a one is opened when these are the
    /// task's, and only tasks that share their descriptors can have it.
    bool (*keeps_credentials)(const img::file_entry &) = nullptr;
    Result<void> (*release)(FileReleaseContext &, int fd, const img::file_entry &) = nullptr;
    /// Why a dump would refuse the description, as far as that shows from outside (`check --tree`). Null: it would not.
    Result<void> (*examine)(const OpenFile &, const Examined &) = nullptr;
    /// What a restored program will miss of a file that no --inherit-fd gives it: said at the restore. Empty: nothing.
    std::string (*missing)(const img::file_entry &, const ImageFiles &) = nullptr;
};

std::span<const FileKind *const> file_kinds();
/// The kind of an entry; null for types that are not supported.
const FileKind *find_file_kind(img::fd_types type);
/// The same, where there has to be one. Errors: Unsupported, naming file and type.
Result<const FileKind *> kind_of_entry(const img::file_entry &file);
Place place_of(const img::file_entry &file);
/// Whether a file can only be opened when all processes and threads exist.
bool is_late(const img::file_entry &file, const ImageFiles &files, const Remaps &remaps);

// ---- shared by kinds -----------------------------------------------------------------------------------------------

/// The receiver of SIGIO and its kin (fcntl F_SETOWN, F_SETSIG).
Result<void> dump_owner(const FileDumpContext &context, const OpenFile &file, img::fown_entry *owner);
/// Sets owner and signal. The owner's process must exist.
/// O_ASYNC among `flags` is set last: the kernel remembers the descriptor's number with it.
Result<void> restore_owner(int fd, const img::fown_entry &owner, uint32_t flags);
bool has_owner(const img::fown_entry &owner);

/// Writes the contents of a pipe or FIFO, unless that was done for its inode before.
Result<void> dump_pipe_data(FileDumpContext &context, const OpenFile &file, image::ImageKind kind, img::ext_pipe *ext);
/// Fills a fresh pipe with what the image holds for `pipe_id`.
Result<void> restore_pipe_data(FileOpenContext &context, image::ImageKind kind, uint64_t pipe_id, int fd,
                               const img::ext_pipe *ext);

/// Another description of the pipe.
Result<base::UniqueFd> reopen_pipe(const FreshPipe &pipe, uint32_t flags);

/// Makes sure that a file without a (right) name can be opened again: as a ghost, or under an extra hard link. `entry`
/// is the reg_file_entry or fifo's path that the remap belongs to.
Result<void> dump_remap(FileDumpContext &context, const OpenFile &file, FileId id, const std::string &path);
/// Removes the extra links again. Where the tree lives on by wish, its images need them.
void take_back_links(FileDumpContext &context, bool failed);

/// A path under which the file of `id` can be opened now: its own, or the one its remap says. The ghost is created if
/// need be.
Result<std::string> path_to_open(FileOpenContext &context, uint32_t id, const std::string &path);

/// Removes the extra names that the dump made with --link-remap. For the end of a successful restore.
/// `root_of`: what to put before a path on a mount of the images: "" or "/proc/PID/root".
using RootOf = std::function<std::string(int32_t mount)>;
void remove_link_remaps(const RootOf &root_of, const ImageFiles &files, const Remaps &remaps);

/// The file of `id` if it was made with O_TMPFILE and the file system can do so again, with `flags`, at its first
/// opening; none otherwise. It can then be opened by path_to_open() too.
Result<base::UniqueFd> open_nameless(FileOpenContext &context, uint32_t id, const std::string &path, uint32_t flags);

} // namespace resource
