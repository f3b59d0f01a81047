// A core file is an ELF file with one segment of notes and one for each stretch of memory. The checkpoint knows of
// every mapping which pages are saved; the others are zero, or as in the mapped file.
#include "criu/crit/core_file.hh"

#include "criu/crit/core_memory.hh"
#include "criu/crit/core_notes.hh"
#include "criu/crit/file_names.hh"
#include "pstree.pb.h"

#include <algorithm>
#include <elf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <map>
#include <sys/mman.h>
#include <unistd.h>

namespace crit {
namespace {

using image::ImageDir;
using image::ImageKind;

// vma_entry.status
constexpr uint32_t kOfVsyscall = 0x4, kOfFile = 0x40 | 0x80, kOfSharedMemory = 0x100;
constexpr uint32_t kDead = 2; // task_core_entry.task_state
constexpr uint64_t kPage = 4096;

struct Segment {
    uint64_t start = 0, end = 0;
    uint32_t flags = 0;
    bool stored = false;           ///< in the file; zeros are holes
    std::vector<SavedPages> pages; ///< by address
};

uint32_t segment_flags(uint32_t prot) {
    return (prot & PROT_READ ? PF_R : 0U) | (prot & PROT_WRITE ? PF_W : 0U) | (prot & PROT_EXEC ? PF_X : 0U);
}

/// Contents of mappings, private and shared.
class Memory {
public:
    static base::Result<Memory> load(const ImageDir &dir, const CoreTask &task) {
        Memory memory{TRY(SavedMemory::load(dir, ImageKind::Pagemap, task.memory)), {}};
        for (const img::vma_entry &vma : task.mm.vmas())
            if ((vma.status() & kOfSharedMemory) && !memory.shared_.contains(vma.shmid()))
                memory.shared_.emplace(vma.shmid(), TRY(SavedMemory::load(dir, ImageKind::ShmemPagemap, vma.shmid())));
        return memory;
    }

    base::Result<std::vector<SavedPages>> of(const img::vma_entry &vma) const {
        std::vector<SavedPages> found;
        auto shared = shared_.find(vma.shmid());
        const bool is_shared = (vma.status() & kOfSharedMemory) && shared != shared_.end();
        const uint64_t shift = is_shared ? vma.start() - vma.pgoff() : 0; // from offsets to addresses
        const SavedMemory &from = is_shared ? shared->second : private_;
        TRY(from.each(vma.start() - shift, vma.end() - shift, [&](const SavedPages &pages) -> base::Result<void> {
            found.push_back({pages.start + shift, pages.end + shift, pages.memory, pages.at});
            return {};
        }));
        return found;
    }

private:
    Memory(SavedMemory own, std::map<uint64_t, SavedMemory> shared)
        : private_(std::move(own)), shared_(std::move(shared)) {}
    SavedMemory private_;
    std::map<uint64_t, SavedMemory> shared_;
};

/// Of a file only what was saved is stored: the rest is in the file itself.
void split_file_mapping(const img::vma_entry &vma, std::vector<SavedPages> pages, std::vector<Segment> &out) {
    const uint32_t flags = segment_flags(vma.prot());
    uint64_t at = vma.start();
    for (SavedPages &stretch : pages) {
        if (stretch.start > at)
            out.push_back({at, stretch.start, flags, false, {}});
        at = stretch.end;
        out.push_back({stretch.start, stretch.end, flags, true, {stretch}});
    }
    if (at < vma.end())
        out.push_back({at, vma.end(), flags, false, {}});
}

base::Result<std::vector<Segment>> segments_of(const CoreTask &task, const Memory &memory) {
    std::vector<Segment> out;
    for (const img::vma_entry &vma : task.mm.vmas()) {
        if (vma.status() & kOfVsyscall)
            continue;
        auto pages = TRY(memory.of(vma));
        if (vma.status() & kOfFile)
            split_file_mapping(vma, std::move(pages), out);
        else
            out.push_back({vma.start(), vma.end(), segment_flags(vma.prot()), !pages.empty(), std::move(pages)});
    }
    return out;
}

base::Result<void> write_at(int fd, const void *bytes, size_t size, uint64_t at) {
    if (pwrite(fd, bytes, size, static_cast<off_t>(at)) != static_cast<ssize_t>(size))
        return base::fail_sys("write");
    return {};
}

base::Result<void> copy_pages(int to, const SavedPages &pages, uint64_t at) {
    std::vector<std::byte> buffer(std::min<uint64_t>(pages.end - pages.start, 1u << 20));
    for (uint64_t done = 0; done < pages.end - pages.start;) {
        const size_t size = std::min<uint64_t>(buffer.size(), pages.end - pages.start - done);
        TRY(pages.memory->read(pages.at + done, std::span(buffer).first(size)));
        TRY(write_at(to, buffer.data(), size, at + done));
        done += size;
    }
    return {};
}

Elf64_Ehdr elf_head(size_t segments) {
    Elf64_Ehdr head{};
    constexpr unsigned char kIdentity[] = {ELFMAG0,    ELFMAG1,     ELFMAG2,    ELFMAG3,
                                           ELFCLASS64, ELFDATA2LSB, EV_CURRENT, ELFOSABI_NONE};
    std::ranges::copy(kIdentity, head.e_ident);
    head.e_type = ET_CORE;
    head.e_machine = EM_X86_64;
    head.e_version = EV_CURRENT;
    head.e_phoff = head.e_ehsize = sizeof(Elf64_Ehdr);
    head.e_phentsize = sizeof(Elf64_Phdr);
    // More than 65534 segments are counted in the first section.
    head.e_phnum = static_cast<uint16_t>(std::min<size_t>(segments, PN_XNUM));
    if (segments >= PN_XNUM) {
        head.e_shoff = sizeof(Elf64_Ehdr) + segments * sizeof(Elf64_Phdr);
        head.e_shentsize = sizeof(Elf64_Shdr);
        head.e_shnum = 1;
    }
    return head;
}

base::Result<void> write_file(int fd, const std::string &notes, const std::vector<Segment> &segments) {
    const size_t count = segments.size() + 1;
    const Elf64_Ehdr head = elf_head(count);
    std::vector<Elf64_Phdr> table(count);
    uint64_t at = sizeof head + count * sizeof(Elf64_Phdr) + (head.e_shnum ? sizeof(Elf64_Shdr) : 0);
    table[0].p_type = PT_NOTE;
    table[0].p_offset = at;
    table[0].p_filesz = notes.size();
    TRY(write_at(fd, notes.data(), notes.size(), at));
    at = (at + notes.size() + kPage - 1) / kPage * kPage;
    for (size_t i = 0; i < segments.size(); i++) {
        const Segment &segment = segments[i];
        Elf64_Phdr &row = table[i + 1];
        row.p_type = PT_LOAD;
        row.p_flags = segment.flags;
        row.p_offset = at;
        row.p_vaddr = segment.start;
        row.p_memsz = segment.end - segment.start;
        row.p_filesz = segment.stored ? row.p_memsz : 0;
        row.p_align = kPage;
        for (const SavedPages &pages : segment.pages)
            TRY(copy_pages(fd, pages, at + (pages.start - segment.start)));
        at += row.p_filesz;
    }
    Elf64_Shdr counted{};
    counted.sh_info = static_cast<uint32_t>(count);
    if (head.e_shnum)
        TRY(write_at(fd, &counted, sizeof counted, head.e_shoff));
    TRY(write_at(fd, &head, sizeof head, 0));
    TRY(write_at(fd, table.data(), count * sizeof(Elf64_Phdr), sizeof head));
    if (ftruncate(fd, static_cast<off_t>(at)) < 0)
        return base::fail_sys("write");
    return {};
}

using Tree = std::vector<img::pstree_entry>;

/// The task whose images have the memory of `pid`: the nearest above that has some. 0: none.
uint32_t memory_of(const ImageDir &dir, const Tree &tree, uint32_t pid) {
    for (size_t steps = 0; steps <= tree.size(); steps++) { // a damaged tree may go in circles
        if (dir.exists(ImageKind::Mm, pid))
            return pid;
        const auto entry = std::ranges::find(tree, pid, &img::pstree_entry::pid);
        pid = entry == tree.end() ? 0 : entry->ppid();
    }
    return 0;
}

/// Nothing for a zombie.
base::Result<std::optional<CoreTask>> read_task(const ImageDir &dir, const Tree &tree, const img::pstree_entry &entry) {
    CoreTask task{.pid = entry.pid(),
                  .ppid = entry.ppid(),
                  .pgid = entry.pgid(),
                  .sid = entry.sid(),
                  .memory = 0,
                  .threads = {},
                  .mm = {}};
    std::vector<uint32_t> tids(entry.threads().begin(), entry.threads().end());
    std::ranges::stable_partition(tids, [&](uint32_t tid) { return tid == entry.pid(); });
    for (uint32_t tid : tids) {
        auto core = TRY(dir.read_one<img::core_entry>(ImageKind::Core, tid));
        if (!core)
            return base::bad_image(fmt::format("core-{}.img is missing", tid));
        if (tid == entry.pid() && core->tc().task_state() == kDead)
            return std::nullopt;
        if (!core->has_thread_info())
            return base::unsupported(fmt::format("core-{}.img: registers of another architecture", tid));
        task.threads.push_back({tid, std::move(*core)});
    }
    task.memory = memory_of(dir, tree, entry.pid());
    auto mm = TRY(dir.read_one<img::mm_entry>(ImageKind::Mm, task.memory));
    if (!mm || task.threads.empty())
        return base::bad_image(fmt::format("mm-{}.img is missing", entry.pid()));
    task.mm = std::move(*mm);
    return task;
}

base::Result<void> write_core(const ImageDir &dir, const CoreTask &task, const std::string &path) {
    if (task.threads.front().core.thread_info().gpregs().mode() == img::COMPAT)
        return base::unsupported("it is a 32-bit program, and core files are written for those of 64 bits only");
    const FileNames names = TRY(FileNames::load(dir));
    std::vector<CoreMapping> files;
    for (const img::vma_entry &vma : task.mm.vmas())
        if (vma.status() & kOfFile)
            files.push_back(
                {vma.start(), vma.end(), vma.pgoff() / kPage, names.path(static_cast<uint32_t>(vma.shmid()))});
    const Memory memory = TRY(Memory::load(dir, task));
    const auto segments = TRY(segments_of(task, memory));
    const base::UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!fd)
        return base::fail_sys(path);
    return write_file(fd.get(), core_notes(task, files), segments);
}

} // namespace

base::Result<void> write_cores(const ImageDir &dir, std::optional<uint32_t> pid, const std::string &folder) {
    bool found = false;
    const Tree tree = TRY(dir.read<img::pstree_entry>(ImageKind::Pstree));
    for (const img::pstree_entry &entry : tree) {
        if (pid && entry.pid() != *pid)
            continue;
        found = true;
        if (auto task = TRY(read_task(dir, tree, entry)))
            TRY_CTX(write_core(dir, *task, fmt::format("{}/core.{}", folder, task->pid)),
                    fmt::format("task {}", task->pid));
    }
    if (!found)
        return base::bad_image(pid ? fmt::format("pstree.img: there is no task {}", *pid)
                                   : "pstree.img: missing or empty: not a checkpoint");
    return {};
}

} // namespace crit
