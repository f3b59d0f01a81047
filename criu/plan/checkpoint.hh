// A whole checkpoint, decoded: everything small. Immutable once loaded; the memory contents stay in their files.
#pragma once

#include "base/ids.hh"
#include "criu/image/image_dir.hh"
#include "criu/pages/index.hh"
#include "criu/tree/numbers.hh"
#include "file-lock.pb.h"
#include "images_pb.hh"

#include <map>
#include <optional>
#include <set>
#include <vector>

namespace plan {

using base::Result;

struct ThreadImage {
    uint32_t tid = 0;
    img::core_entry core;
};

struct TaskImage {
    uint32_t pid = 0, ppid = 0, pgid = 0, sid = 0;
    std::vector<ThreadImage> threads; ///< leader first; a zombie has one
    // Absent for zombies.
    img::task_kobj_ids_entry ids;
    img::mm_entry mm;
    img::fs_entry fs;
    pages::PageIndex pages; ///< of private memory
    /// The task that has made it with its own memory (CLONE_VM), and has no such maker itself; 0: its memory is its
    /// own. Then `mm` and `pages` are that task's.
    uint32_t memory_of = 0;
    std::vector<uint32_t> early_threads; ///< ascending, without the leader: waiting_room.hh
    size_t first_room = 0;               ///< the place of the first of these among all of the address space

    const img::core_entry &core() const { return threads.front().core; }
    bool dead() const { return core().tc().task_state() == 2; }
    bool stopped() const { return core().tc().task_state() == 3; }
};

/// Pids of all that have the task's memory, its maker first.
std::vector<uint32_t> memory_group(const std::vector<TaskImage> &tasks, const TaskImage &task);

/// Files that are directories of threads which have their own.
std::set<uint32_t> own_directories(const TaskImage &task);

/// The descriptors of a thread that does not have those of its process (unshare(CLONE_FILES)): a key of
/// Checkpoint::tables, or 0.
inline uint32_t own_table(const ThreadImage &thread) {
    return thread.core.thread_core().ext().files_id();
}

/// The first that has a file open, and under which number.
struct Holder {
    size_t task = 0;
    uint32_t number = 0;
    uint32_t table = 0; ///< key of Checkpoint::tables
    uint32_t tid = 0;   ///< of a thread that has the table
};

struct Checkpoint {
    pages::Chain chain; ///< the images and those that they build on
    img::inventory_entry inventory;
    std::vector<TaskImage> tasks; ///< parents before children; the first is the root
    std::map<uint32_t, img::file_entry> files;
    std::map<uint32_t, std::vector<img::fdinfo_entry>> tables; ///< by files_id, ascending descriptors
    std::multimap<uint32_t, img::remap_file_path_entry> remaps;
    std::map<uint32_t, Holder> first_holders;           ///< by file id; the dump looked at the file in this task
    std::multimap<int32_t, img::file_lock_entry> locks; ///< by the pid of the task that sets them
    bool has_late_files = false;                        ///< files that wait until all processes and threads exist
    img::seccomp_entry seccomp;
    tree::Numbers numbers; ///< in pid namespaces that only tasks below the root live in

    const image::ImageDir &images() const { return chain.newest(); }
    const TaskImage &root() const { return tasks.front(); }
};

/// Reads and checks everything: ids that lead nowhere, pages files that are too short, tasks without parents.
/// Errors: BadImage naming the file.
/// `haste`: with two threads. Not before forks: memory of the second thread is scattered, and every child copies its
/// page tables.
enum class Haste : uint8_t { No, Yes };
Result<Checkpoint> load_checkpoint(int images_dir_fd, Haste haste = Haste::No,
                                   std::shared_ptr<image::Supplier> supplier = nullptr);

} // namespace plan
