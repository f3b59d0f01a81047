#include "criu/crit/explore.hh"

#include "core.pb.h"
#include "criu/crit/file_names.hh"
#include "criu/image/pagemap.hh"
#include "fs.pb.h"
#include "mm.pb.h"
#include "pstree.pb.h"

#include <fmt/format.h>
#include <iterator>
#include <map>
#include <sys/mman.h>
#include <unordered_set>

namespace crit {
namespace {

using image::ImageDir;
using image::ImageKind;

// vma_entry.status
constexpr uint32_t kRegular = 0x1, kStack = 0x2, kVsyscall = 0x4, kVdso = 0x8, kFilePrivate = 0x40, kFileShared = 0x80;
constexpr uint32_t kAnonShared = 0x100, kSysvIpc = 0x400, kSocket = 0x800;

template <class... Args> void print(std::string &out, fmt::format_string<Args...> format, Args &&...args) {
    fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
}

base::Result<std::vector<img::pstree_entry>> read_tree(const ImageDir &dir) {
    auto tree = TRY(dir.read<img::pstree_entry>(ImageKind::Pstree));
    if (tree.empty())
        return base::bad_image("pstree.img: missing or empty: not a checkpoint");
    return tree;
}

base::Result<std::string> comm_of(const ImageDir &dir, uint32_t pid) {
    auto core = TRY(dir.read_one<img::core_entry>(ImageKind::Core, pid));
    return core ? core->tc().comm() : std::string();
}

bool is_file(const img::vma_entry &vma) {
    return vma.status() & (kFilePrivate | kFileShared);
}

/// Objects without a name are numbered in the order in which they are met, per kind.
class Numbering {
public:
    size_t operator()(uint64_t id) { return numbers_.try_emplace(id, numbers_.size() + 1).first->second; }

private:
    std::map<uint64_t, size_t> numbers_;
};

struct VmaNumbers {
    Numbering shmem, ipc, packet;
};

std::string vma_name(const img::vma_entry &vma, const FileNames &files, VmaNumbers &numbers) {
    if (is_file(vma)) {
        std::string name = ' ' + files.path(static_cast<uint32_t>(vma.shmid()));
        if (vma.pgoff())
            print(name, " + {:#x}", vma.pgoff());
        return name + (vma.status() & kFileShared ? " (s)" : "");
    }
    if (vma.status() & kStack)
        return " [stack]";
    if (vma.status() & kVsyscall)
        return " [vsyscall]";
    if (vma.status() & kVdso)
        return " [vdso]";
    if (vma.status() & kSysvIpc)
        return fmt::format(" ips[{}]", numbers.ipc(vma.shmid()));
    if (vma.status() & kAnonShared)
        return fmt::format(" shmem[{}]", numbers.shmem(vma.shmid()));
    if (vma.status() & kSocket)
        return fmt::format(" packet[{}]", numbers.packet(vma.shmid()));
    return vma.flags() & MAP_GROWSDOWN ? " [stack?]" : "";
}

void print_vma(std::string &out, const img::vma_entry &vma, const FileNames &files, VmaNumbers &numbers) {
    const char prot[]{vma.prot() & PROT_READ ? 'r' : '-', vma.prot() & PROT_WRITE ? 'w' : '-',
                      vma.prot() & PROT_EXEC ? 'x' : '-', 0};
    print(out, "\t{:<36}{}{}{}\n", fmt::format("{:08x}-{:08x}", vma.start(), vma.end()), prot,
          vma_name(vma, files, numbers), vma.status() & kRegular ? "" : " *");
}

/// One run of pages: the mappings that it touches, "~" for one that was named with the run before.
class RssTable {
public:
    RssTable(const img::mm_entry &mm, const FileNames &files) : mm_(mm), files_(files) {}

    void add(std::string &out, uint64_t start, uint64_t pages) {
        while (at_ < mm_.vmas_size() && mm_.vmas(at_).end() <= start)
            at_++;
        uint64_t end = start + pages * 4096;
        std::string mappings;
        int vma = at_;
        for (; vma < mm_.vmas_size() && mm_.vmas(vma).start() < end; vma++) {
            if (vma == named_)
                mappings += " ~";
            else
                name(mappings, mm_.vmas(vma));
            named_ = vma;
            print(mappings, "\n\t{:23}", "");
        }
        if (vma > at_)
            at_ = vma - 1;
        print(out, "\t{:<23}{}\n", fmt::format("{:x} / {:<8}", start, pages), mappings);
    }

private:
    void name(std::string &out, const img::vma_entry &vma) {
        print(out, " {:08x} / {:<8}", vma.start(), (vma.end() - vma.start()) / 4096);
        if (is_file(vma))
            out += ' ' + files_.path(static_cast<uint32_t>(vma.shmid()));
    }

    const img::mm_entry &mm_;
    const FileNames &files_;
    int at_ = 0;     ///< first mapping that the next run may touch
    int named_ = -1; ///< the mapping printed last
};

base::Result<void> print_fds(std::string &out, const ImageDir &dir, uint32_t pid, const FileNames &files) {
    auto ids = TRY(dir.read_one<img::task_kobj_ids_entry>(ImageKind::Ids, pid));
    if (ids)
        for (const auto &fd : TRY(dir.read<img::fdinfo_entry>(ImageKind::Fdinfo, ids->files_id())))
            print(out, "\t{:7}: {}\n", fd.fd(), files.describe(fd.type(), fd.id()));
    if (auto fs = TRY(dir.read_one<img::fs_entry>(ImageKind::Fs, pid))) {
        print(out, "\t{:>7}: {}\n", "cwd", files.path(fs->cwd_id()));
        print(out, "\t{:>7}: {}\n", "root", files.path(fs->root_id()));
    }
    return {};
}

} // namespace

base::Result<std::string> explore_ps(const ImageDir &dir) {
    auto tree = TRY(read_tree(dir));
    std::map<uint32_t, std::vector<const img::pstree_entry *>> children;
    std::unordered_set<uint32_t> pids;
    for (const auto &task : tree)
        pids.insert(task.pid());
    std::vector<std::pair<const img::pstree_entry *, int>> todo; // last first
    for (auto task = tree.rbegin(); task != tree.rend(); ++task) {
        if (pids.contains(task->ppid()))
            children[task->ppid()].push_back(&*task);
        else
            todo.emplace_back(&*task, 0);
    }
    std::string out = fmt::format("{:>7}{:>7}{:>7}   {}\n", "PID", "PGID", "SID", "COMM");
    while (!todo.empty()) {
        auto [task, depth] = todo.back();
        todo.pop_back();
        print(out, "{:7}{:7}{:7}   {:{}}{}\n", task->pid(), task->pgid(), task->sid(), "", depth * 4,
              TRY(comm_of(dir, task->pid())));
        auto found = children.find(task->pid());
        if (found == children.end())
            continue;
        for (const auto *child : found->second)
            todo.emplace_back(child, depth + 1);
        children.erase(found); // a pid that occurs twice has its children once
    }
    return out;
}

base::Result<std::string> explore_fds(const ImageDir &dir) {
    FileNames files = TRY(FileNames::load(dir));
    std::string out;
    for (const auto &task : TRY(read_tree(dir))) {
        print(out, "{}\n", task.pid());
        TRY(print_fds(out, dir, task.pid(), files));
    }
    return out;
}

base::Result<std::string> explore_mems(const ImageDir &dir) {
    FileNames files = TRY(FileNames::load(dir));
    VmaNumbers numbers;
    std::string out;
    for (const auto &task : TRY(read_tree(dir))) {
        print(out, "{}\n", task.pid());
        auto mm = TRY(dir.read_one<img::mm_entry>(ImageKind::Mm, task.pid()));
        if (!mm) // a zombie
            continue;
        print(out, "\t{:<36}    {}\n", "exe", files.path(mm->exe_file_id()));
        for (const auto &vma : mm->vmas())
            print_vma(out, vma, files, numbers);
    }
    return out;
}

base::Result<std::string> explore_rss(const ImageDir &dir) {
    FileNames files = TRY(FileNames::load(dir));
    std::string out;
    for (const auto &task : TRY(read_tree(dir))) {
        print(out, "{}\n", task.pid());
        auto mm = TRY(dir.read_one<img::mm_entry>(ImageKind::Mm, task.pid()));
        if (!mm)
            continue;
        RssTable table(*mm, files);
        for (const auto &run : TRY(dir.read_pagemap(ImageKind::Pagemap, task.pid())).entries)
            table.add(out, run.vaddr(), image::pages_of(run));
    }
    return out;
}

} // namespace crit
