#include "criu/plan/checkpoint.hh"

#include "criu/plan/numbers.hh"

#include "base/both.hh"
#include "criu/plan/waiting_room.hh"

#include "criu/resource/file/file.hh"

#include <algorithm>
#include <csignal>
#include <fmt/format.h>
#include <set>
#include <span>

namespace plan {
namespace {

using image::ImageKind;

constexpr uint32_t kUnknown = ~0u;

template <class M> Result<M> required(const image::ImageDir &images, ImageKind kind, uint64_t id, const char *name) {
    auto entry = TRY(images.read_one<M>(kind, id));
    if (!entry)
        return base::bad_image(fmt::format("{}-{}.img is missing", name, id));
    return std::move(*entry);
}

/// Whether a wait status is that of an exit, or of a signal that kills: a zombie is made by the same end.
bool is_an_end(uint32_t status) {
    constexpr int kHarmless[]{SIGCHLD, SIGCONT, SIGURG, SIGWINCH, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU};
    const auto signal = static_cast<int>(status & 0x7f);
    return status <= UINT16_MAX && signal <= SIGRTMAX && std::ranges::find(kHarmless, signal) == std::end(kHarmless);
}

/// Images once noted a sandbox for the process as a whole.
void share_sandbox(TaskImage &task) {
    const img::task_core_entry tc = task.core().tc();
    if (!tc.has_old_seccomp_mode())
        return;
    for (ThreadImage &thread : task.threads) {
        img::thread_core_entry *core = thread.core.mutable_thread_core();
        if (core->has_seccomp_mode())
            continue;
        core->set_seccomp_mode(tc.old_seccomp_mode());
        if (tc.has_old_seccomp_filter())
            core->set_seccomp_filter(tc.old_seccomp_filter());
    }
}

/// The threads behind the leader.
Result<void> load_threads(const image::ImageDir &images, const img::pstree_entry &entry, TaskImage &task, Haste haste) {
    for (uint32_t tid : entry.threads())
        if (tid != task.pid)
            task.threads.push_back({tid, {}});
    auto load = [&](size_t i) -> Result<void> {
        ThreadImage &thread = task.threads[i + 1];
        thread.core = TRY(required<img::core_entry>(images, ImageKind::Core, thread.tid, "core"));
        return {};
    };
    const size_t count = task.threads.size() - 1;
    if (haste == Haste::Yes)
        return base::for_each_in_halves(count, load);
    for (size_t i = 0; i < count; i++)
        TRY(load(i));
    return {};
}

Result<TaskImage> load_task(const pages::Chain &chain, const img::pstree_entry &entry, bool fdinfo_per_id,
                            Haste haste) {
    const image::ImageDir &images = chain.newest();
    TaskImage task{.pid = entry.pid(), .ppid = entry.ppid(), .pgid = entry.pgid(), .sid = entry.sid()};
    auto leader = TRY(required<img::core_entry>(images, ImageKind::Core, task.pid, "core"));
    if (!leader.has_tc())
        return base::bad_image(fmt::format("core-{}.img: the task part is missing", task.pid));
    task.threads.push_back({task.pid, std::move(leader)});
    if (task.dead())
        return is_an_end(task.core().tc().exit_code())
                   ? Result<TaskImage>(std::move(task))
                   : base::bad_image(fmt::format("core-{}.img: no process ends with the exit code {:#x}", task.pid,
                                                 task.core().tc().exit_code()));
    TRY(load_threads(images, entry, task, haste));
    if (auto ids = TRY(images.read_one<img::task_kobj_ids_entry>(ImageKind::Ids, task.pid)))
        task.ids = *ids;
    else if (task.core().has_ids())
        task.ids = task.core().ids();
    else
        return base::bad_image(fmt::format("ids-{}.img is missing", task.pid));
    if (!fdinfo_per_id)
        task.ids.set_files_id(task.pid); // fdinfo-N.img were numbered by tasks, not by tables
    share_sandbox(task);
    task.fs = TRY(required<img::fs_entry>(images, ImageKind::Fs, task.pid, "fs"));
    auto mm = TRY(images.read_one<img::mm_entry>(ImageKind::Mm, task.pid));
    task.memory_of = mm ? 0 : kUnknown; // see share_memory()
    if (!mm)
        return task;
    task.mm = std::move(*mm);
    task.pages = TRY(pages::index_pages(chain, ImageKind::Pagemap, task.pid));
    return task;
}

/// Before anything is read of them: what is listed a hundred thousand times would be read as often. CRIU leaves the
/// single thread of a zombie undefined.
Result<void> check_ids(const std::vector<img::pstree_entry> &tree) {
    std::set<uint32_t> ids;
    auto note = [&](uint32_t id) -> Result<void> {
        return id && ids.insert(id).second ? Result<void>{}
                                           : base::bad_image(fmt::format("pstree.img: id {} is there twice or 0", id));
    };
    for (const img::pstree_entry &entry : tree) {
        TRY(note(entry.pid()));
        bool leader = false; // is listed among the threads, once
        for (uint32_t tid : entry.threads())
            if (entry.threads_size() > 1 && (tid != entry.pid() || std::exchange(leader, true)))
                TRY(note(tid));
    }
    return {};
}

Result<void> load_tasks(Checkpoint &checkpoint, const std::vector<img::pstree_entry> &tree, Haste haste) {
    for (const img::pstree_entry &entry : tree)
        checkpoint.tasks.push_back(
            TRY(load_task(checkpoint.chain, entry, checkpoint.inventory.fdinfo_per_id(), haste)));
    return {};
}

/// Images from before remaps had a type mark ghosts by the highest bit of the number.
img::remap_file_path_entry with_type(img::remap_file_path_entry remap) {
    constexpr uint32_t kGhostBit = 1u << 31;
    if (remap.has_remap_type())
        return remap;
    remap.set_remap_type(remap.remap_id() & kGhostBit ? img::GHOST : img::LINKED);
    remap.set_remap_id(remap.remap_id() & ~kGhostBit);
    return remap;
}

Result<void> load_files(Checkpoint &checkpoint) {
    for (img::file_entry &file : TRY(checkpoint.images().read<img::file_entry>(ImageKind::Files))) {
        const uint32_t id = file.id();
        if (!checkpoint.files.emplace(id, std::move(file)).second)
            return base::bad_image(fmt::format("files.img: file {} is there twice", id));
    }
    for (const auto &remap : TRY(checkpoint.images().read<img::remap_file_path_entry>(ImageKind::RemapFpath)))
        checkpoint.remaps.emplace(remap.orig_id(), with_type(remap));
    return {};
}

Result<void> need_file(const Checkpoint &checkpoint, uint32_t id, const std::string &whose) {
    if (checkpoint.files.contains(id))
        return {};
    return base::bad_image(fmt::format("{}: file {} is not in files.img", whose, id));
}

/// A file that the tasks need before all of them exist: to be in it, to run it, to map it.
Result<void> need_early_file(const Checkpoint &checkpoint, uint32_t id, const std::string &whose) {
    TRY(need_file(checkpoint, id, whose));
    if (!resource::is_late(checkpoint.files.at(id), checkpoint.files, checkpoint.remaps))
        return {};
    return base::unsupported(fmt::format("{}: file {} is there only when all tasks are", whose, id));
}

Result<void> load_table(Checkpoint &checkpoint, uint32_t files_id) {
    if (checkpoint.tables.contains(files_id))
        return {};
    auto entries = TRY(checkpoint.images().read<img::fdinfo_entry>(ImageKind::Fdinfo, files_id));
    std::sort(entries.begin(), entries.end(), [](auto &a, auto &b) { return a.fd() < b.fd(); });
    for (size_t i = 0; i < entries.size(); i++) {
        const std::string whose = fmt::format("fdinfo-{}.img: fd {}", files_id, entries[i].fd());
        constexpr uint32_t kMostDescriptors = 1u << 30;
        if (entries[i].fd() >= kMostDescriptors || (i && entries[i].fd() == entries[i - 1].fd()))
            return base::bad_image(whose + " is impossible");
        TRY(need_file(checkpoint, entries[i].id(), whose));
    }
    checkpoint.tables.emplace(files_id, std::move(entries));
    return {};
}

Result<void> load_own_table(Checkpoint &checkpoint, const ThreadImage &thread) {
    TRY(load_table(checkpoint, own_table(thread)));
    for (const img::fdinfo_entry &entry : checkpoint.tables.at(own_table(thread)))
        TRY(need_early_file(checkpoint, entry.id(), fmt::format("thread {}: fd {}", thread.tid, entry.fd())));
    return {};
}

constexpr uint32_t kFileStatus = 0x40 | 0x80 | 0x800;

Result<void> check_mappings(const Checkpoint &checkpoint, const TaskImage &task) {
    uint64_t end = 0;
    for (const img::vma_entry &vma : task.mm.vmas()) {
        const std::string whose = fmt::format("mm-{}.img: mapping {:#x}", task.pid, vma.start());
        constexpr uint64_t kGuard = 0x10000, kVsyscall = 0x4;
        if (vma.start() % base::kPageSize || vma.end() % base::kPageSize || vma.start() >= vma.end())
            return base::bad_image(whose + " has no valid bounds");
        if (vma.status() & kFileStatus)
            TRY(need_early_file(checkpoint, static_cast<uint32_t>(vma.shmid()), whose));
        if (vma.status() & kVsyscall)
            continue;
        if (vma.end() > base::kUserEnd)
            return base::bad_image(whose + " lies outside of user space");
        if (vma.status() & kGuard)
            continue;
        if (vma.start() < end)
            return base::bad_image(whose + " overlaps the one before");
        end = vma.end();
    }
    return {};
}

/// Numbers and owners are translated once for an address space: number_as_inside(), own_as_inside().
Result<void> check_sharing(const Checkpoint &checkpoint, const TaskImage &task) {
    const bool below = checkpoint.numbers.home_of(task.pid) != tree::Numbers::kRoots ||
                       task.ids.user_ns_id() != checkpoint.root().ids.user_ns_id();
    return task.memory_of && below ? base::unsupported(fmt::format(
                                         "task {} shares the memory of task {}, in a pid or user namespace that is "
                                         "not that of the root of the tree",
                                         task.pid, task.memory_of))
                                   : Result<void>{};
}

Result<void> check_task(Checkpoint &checkpoint, const TaskImage &task) {
    TRY(check_sharing(checkpoint, task));
    TRY(load_table(checkpoint, task.ids.files_id()));
    if (own_table(task.threads.front()))
        return base::bad_image(fmt::format("core-{}.img: a process has descriptors besides its own", task.pid));
    for (const ThreadImage &thread : task.threads)
        if (own_table(thread))
            TRY(load_own_table(checkpoint, thread));
    TRY(check_mappings(checkpoint, task));
    TRY(need_early_file(checkpoint, task.mm.exe_file_id(), fmt::format("mm-{}.img: program", task.pid)));
    TRY(need_early_file(checkpoint, task.fs.cwd_id(), fmt::format("fs-{}.img: working directory", task.pid)));
    for (const uint32_t id : own_directories(task))
        TRY(need_early_file(checkpoint, id, fmt::format("task {}: a directory of a thread", task.pid)));
    return need_early_file(checkpoint, task.fs.root_id(), fmt::format("fs-{}.img: root directory", task.pid));
}

/// Parents first, each task once, one root.
Result<void> order_tasks(std::vector<TaskImage> &tasks) {
    std::map<uint32_t, std::vector<TaskImage>> children;
    std::set<uint32_t> ids;
    for (const TaskImage &task : tasks)
        for (const ThreadImage &thread : task.threads)
            if (!thread.tid || !ids.insert(thread.tid).second)
                return base::bad_image(fmt::format("pstree.img: id {} is there twice or 0", thread.tid));
    std::vector<TaskImage> ordered;
    const size_t count = tasks.size();
    for (TaskImage &task : tasks)
        (task.ppid && ids.contains(task.ppid) ? children[task.ppid] : ordered).push_back(std::move(task));
    if (ordered.size() != 1)
        return base::bad_image(fmt::format("pstree.img: there must be one root task, not {}", ordered.size()));
    for (size_t at = 0; at < ordered.size(); at++) {
        auto &below = children[ordered[at].pid];
        for (TaskImage &child : below)
            ordered.push_back(std::move(child));
    }
    if (ordered.size() != count)
        return base::bad_image("pstree.img: some tasks are their own ancestors");
    tasks = std::move(ordered);
    return {};
}

/// A task without mm-N.img has the memory of the one that has made it. `tasks`: parents first.
Result<void> share_memory(std::vector<TaskImage> &tasks) {
    std::map<uint32_t, const TaskImage *> by_pid;
    for (TaskImage &task : tasks) {
        by_pid[task.pid] = &task;
        if (task.memory_of != kUnknown)
            continue;
        const auto parent = by_pid.find(task.ppid);
        const TaskImage *maker = parent == by_pid.end() ? nullptr : parent->second;
        if (!maker || maker->dead() || !task.ids.vm_id() || maker->ids.vm_id() != task.ids.vm_id())
            return base::bad_image(fmt::format("mm-{}.img is missing", task.pid));
        task.memory_of = maker->memory_of ? maker->memory_of : maker->pid;
        task.mm = maker->mm;
        task.pages = maker->pages;
    }
    return {};
}

/// Threads whose descriptors are their own: the first of each table comes early, the others are made by it.
Result<void> find_own_tables(TaskImage &task) {
    std::map<uint32_t, uint32_t> firsts;
    for (const ThreadImage &thread : task.threads) {
        const uint32_t table = own_table(thread);
        if (!table || table == task.ids.files_id())
            continue;
        const bool forks = std::ranges::find(task.early_threads, thread.tid) != task.early_threads.end();
        const auto [first, fresh] = firsts.emplace(table, thread.tid);
        if (!fresh && forks)
            return base::unsupported(fmt::format("task {}: thread {} has children, and descriptors of thread {}",
                                                 task.pid, thread.tid, first->second));
        if (fresh && !forks)
            task.early_threads.push_back(thread.tid);
    }
    return {};
}

/// Errors: BadImage for a child of a thread that its parent does not have.
Result<void> find_early_threads(std::vector<TaskImage> &tasks) {
    std::map<uint32_t, TaskImage *> by_pid;
    for (TaskImage &task : tasks)
        by_pid[task.pid] = &task;
    for (const TaskImage &task : std::span(tasks).subspan(1)) {
        const uint32_t thread = task.core().tc().ext().parent_thread();
        TaskImage &parent = *by_pid.at(task.ppid);
        if (!thread || thread == parent.pid)
            continue;
        if (std::ranges::find(parent.threads, thread, &ThreadImage::tid) == parent.threads.end())
            return base::bad_image(
                fmt::format("core-{}.img: its parent {} has no thread {}", task.pid, parent.pid, thread));
        if (std::ranges::find(parent.early_threads, thread) == parent.early_threads.end())
            parent.early_threads.push_back(thread);
    }
    std::map<uint32_t, size_t> rooms; // taken, by the task whose memory it is
    for (TaskImage &task : tasks) {
        TRY(find_own_tables(task));
        std::ranges::sort(task.early_threads);
        size_t &taken = rooms[task.memory_of ? task.memory_of : task.pid];
        task.first_room = taken;
        taken += task.early_threads.size();
        if (taken > kMostEarlyThreads)
            return base::unsupported(
                fmt::format("task {}: more than {} of its threads have children or descriptors of their own", task.pid,
                            kMostEarlyThreads));
    }
    return {};
}

void find_holders(Checkpoint &checkpoint) {
    std::set<uint32_t> done;
    for (size_t i = 0; i < checkpoint.tasks.size(); i++) {
        const TaskImage &task = checkpoint.tasks[i];
        auto look_at = [&](uint32_t table, uint32_t tid) {
            if (!done.insert(table).second)
                return;
            for (const img::fdinfo_entry &entry : checkpoint.tables.at(table))
                if (checkpoint.first_holders.try_emplace(entry.id(), Holder{i, entry.fd(), table, tid}).second)
                    checkpoint.has_late_files |=
                        resource::is_late(checkpoint.files.at(entry.id()), checkpoint.files, checkpoint.remaps);
        };
        if (task.dead())
            continue;
        look_at(task.ids.files_id(), task.pid);
        for (const ThreadImage &thread : task.threads)
            if (own_table(thread))
                look_at(own_table(thread), thread.tid);
    }
}

} // namespace

Result<Checkpoint> load_checkpoint(int images_dir_fd, Haste haste, std::shared_ptr<image::Supplier> supplier) {
    Checkpoint checkpoint{.chain = TRY(pages::Chain::open(images_dir_fd, std::move(supplier)))};
    auto inventory = TRY(checkpoint.images().read_one<img::inventory_entry>(ImageKind::Inventory));
    if (!inventory)
        return base::fail(image::no_inventory(checkpoint.images()));
    constexpr uint32_t kNewest = 3; // compressed pages
    if (inventory->img_version() == 0 || inventory->img_version() > kNewest)
        return base::bad_image(
            fmt::format("inventory.img: images of version {} are not known", inventory->img_version()));
    if (inventory->has_pre_dump_mode())
        return base::fail(base::Error(base::ErrorKind::BadImage,
                                      "inventory.img is that of a pre-dump: there is only memory, and no processes")
                              .hint("name the directory of the dump that followed with -D"));
    checkpoint.inventory = std::move(*inventory);
    const auto tree = TRY(checkpoint.images().read<img::pstree_entry>(ImageKind::Pstree));
    TRY(check_ids(tree));
    auto files = [&] { return load_files(checkpoint); };
    auto tasks = [&] { return load_tasks(checkpoint, tree, haste); };
    if (haste == Haste::Yes)
        TRY(base::both(files, tasks));
    else {
        TRY(files());
        TRY(tasks());
    }
    TRY(order_tasks(checkpoint.tasks));
    TRY(share_memory(checkpoint.tasks));
    TRY(find_early_threads(checkpoint.tasks));
    checkpoint.numbers = TRY(read_numbers(checkpoint.images(), checkpoint.tasks));
    for (const TaskImage &task : checkpoint.tasks)
        if (!task.dead())
            TRY(check_task(checkpoint, task));
    find_holders(checkpoint);
    if (checkpoint.root().dead())
        return base::bad_image("pstree.img: the root task is a zombie");
    for (auto &lock : TRY(checkpoint.images().read<img::file_lock_entry>(ImageKind::FileLocks)))
        checkpoint.locks.emplace(lock.pid(), lock);
    if (auto seccomp = TRY(checkpoint.images().read_one<img::seccomp_entry>(ImageKind::Seccomp)))
        checkpoint.seccomp = std::move(*seccomp);
    return checkpoint;
}

std::vector<uint32_t> memory_group(const std::vector<TaskImage> &tasks, const TaskImage &task) {
    const uint32_t maker = task.memory_of ? task.memory_of : task.pid;
    std::vector<uint32_t> group{maker};
    for (const TaskImage &other : tasks)
        if (other.memory_of == maker)
            group.push_back(other.pid);
    return group;
}

std::set<uint32_t> own_directories(const TaskImage &task) {
    std::set<uint32_t> ids;
    for (const ThreadImage &thread : task.threads)
        if (const auto &ext = thread.core.thread_core().ext(); ext.has_directories())
            ids.insert({ext.directories().cwd_id(), ext.directories().root_id()});
    return ids;
}

} // namespace plan
