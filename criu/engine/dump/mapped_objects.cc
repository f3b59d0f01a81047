#include "criu/engine/dump/mapped_objects.hh"

#include "criu/pages/codec.hh"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace dump {
namespace {

bool is_same_object(const parse::Vma &a, const parse::Vma &b) {
    return a.inode == b.inode && a.dev_major == b.dev_major && a.dev_minor == b.dev_minor;
}

/// What is zero stays a hole.
Result<void> copy_mapping(const compel::RemoteMemory &memory, const parse::Vma &vma, int to) {
    constexpr uint64_t kPiece = 1 << 20;
    std::vector<std::byte> piece(std::min(kPiece, vma.size()));
    for (uint64_t at = vma.start; at < vma.end; at += piece.size()) {
        const auto part = std::span(piece).first(std::min<uint64_t>(piece.size(), vma.end - at));
        TRY(memory.read(at, part));
        for (size_t offset = 0; offset < part.size(); offset += base::kPageSize) {
            const auto page = part.subspan(offset, base::kPageSize);
            const auto place = static_cast<off_t>(vma.pgoff + (at - vma.start) + offset);
            if (!pages::is_zero(page) &&
                pwrite(to, page.data(), page.size(), place) != static_cast<ssize_t>(page.size()))
                return base::fail_sys("copy shared memory");
        }
    }
    return {};
}

Result<base::UniqueFd> copy_shared(std::span<const tree::TaskFacts> tasks, const parse::Vma &vma) {
    base::UniqueFd copy(memfd_create("shared memory", MFD_CLOEXEC));
    if (!copy)
        return base::fail_sys("copy shared memory");
    uint64_t end = 0;
    for (const tree::TaskFacts &task : tasks) {
        if (std::ranges::none_of(task.vmas, [&](const auto &each) { return is_same_object(each, vma); }))
            continue;
        const auto memory = TRY(compel::RemoteMemory::open(task.voice));
        for (const parse::Vma &each : task.vmas) {
            if (!each.shared || !is_same_object(each, vma))
                continue;
            TRY(copy_mapping(memory, each, copy.get()));
            end = std::max(end, each.pgoff + each.size());
        }
    }
    if (!end)
        return base::unsupported("shared memory that is mapped as a private copy only, seen from a user namespace");
    return ftruncate(copy.get(), static_cast<off_t>(end)) < 0 ? Result<base::UniqueFd>(base::fail_sys("ftruncate"))
                                                              : Result<base::UniqueFd>(std::move(copy));
}

std::unexpected<base::Error> out_of_reach(const parse::Vma &vma) {
    return base::fail(
        base::Error(base::ErrorKind::Unsupported,
                    fmt::format("the file {} was deleted or replaced, and only the mapping leads to it", vma.name))
            .hint("which the kernel opens for who has CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN outside of all user "
                  "namespaces: dump as root, outside of the container's user namespace"));
}

} // namespace

std::string map_file(const tree::TaskFacts &task, const parse::Vma &vma) {
    return fmt::format("/proc/{}/map_files/{:x}-{:x}", task.voice.value, vma.start, vma.end);
}

Result<base::UniqueFd> open_shared(const MemoryDumpContext &context, const tree::TaskFacts &task,
                                   const parse::Vma &vma) {
    base::UniqueFd fd(open(map_file(task, vma).c_str(), O_RDONLY | O_CLOEXEC));
    if (fd)
        return fd;
    if (errno != EPERM)
        return base::fail_sys("open shared memory");
    return copy_shared(context.tasks, vma);
}

Result<base::FileId> add_mapped_file(const MemoryDumpContext &context, const tree::TaskFacts &task,
                                     const parse::Vma &vma, int flags) {
    FileTable &files = *context.files;
    const std::string link = map_file(task, vma);
    struct stat st {};
    if (stat(link.c_str(), &st) == 0 || errno != EPERM)
        return files.add_path(task, link, flags);
    if (const auto there = files.find_path_of(task, vma.name, makedev(vma.dev_major, vma.dev_minor), vma.inode))
        return files.add_path(task, *there, flags, vma.name);
    // The program itself, replaced by a newer one, say.
    const std::string program = fmt::format("/proc/{}/exe", task.voice.value);
    if (stat(program.c_str(), &st) == 0 && st.st_ino == vma.inode && st.st_dev == makedev(vma.dev_major, vma.dev_minor))
        return files.add_path(task, program, flags);
    if (const auto open = files.find_open(makedev(vma.dev_major, vma.dev_minor), vma.inode))
        return *open;
    return out_of_reach(vma);
}

} // namespace dump
