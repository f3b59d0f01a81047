#include "criu/engine/restore/file_checks.hh"

#include "criu/engine/restore/namespaces.hh"
#include "criu/plan/file_schedule.hh"
#include "criu/resource/file/file.hh"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <sched.h>
#include <set>
#include <sys/capability.h>
#include <sys/resource.h>
#include <unistd.h>

namespace restore {
namespace {

uint64_t highest_limit() {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    uint64_t most = 0;
    if (may_raise_limits() && std::ifstream("/proc/sys/fs/nr_open") >> most)
        return most;
    return limit.rlim_max;
}

/// Numbers for files that cannot lie at one of their own from the beginning, and for what is ours.
uint64_t numbers_needed(const plan::FileSchedule &files) {
    constexpr uint64_t kOfOurOwn = 16;
    const auto homeless = [](const plan::FileStep &step) { return !step.home; };
    return kOfOurOwn + static_cast<uint64_t>(std::ranges::count_if(files.early, homeless));
}

/// The directory that a missing one would be made in.
std::filesystem::path nearest_directory(const std::string &path) {
    std::error_code error;
    std::filesystem::path directory = std::filesystem::path(path).parent_path();
    while (directory.has_relative_path() && !std::filesystem::exists(directory, error))
        directory = directory.parent_path();
    return directory;
}

Result<void> check_remap(const plan::Checkpoint &checkpoint, const img::reg_file_entry &file,
                         const img::remap_file_path_entry &remap) {
    if (remap.remap_type() == img::GHOST) {
        const auto directory = nearest_directory(file.name());
        if (faccessat(AT_FDCWD, directory.c_str(), W_OK | X_OK, AT_EACCESS) == 0)
            return {};
        return base::fail(base::Error::sys(fmt::format("{} was deleted, and cannot be made again for a moment in {}",
                                                       file.name(), directory.string()))
                              .hint("make the directory writable, or let the program close the file"));
    }
    auto link = checkpoint.files.find(remap.remap_id());
    if (remap.remap_type() == img::LINKED && link != checkpoint.files.end() && link->second.has_reg() &&
        faccessat(AT_FDCWD, link->second.reg().name().c_str(), F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return base::fail_sys(fmt::format("the link to {}, {}", file.name(), link->second.reg().name()));
    return {};
}

} // namespace

bool may_raise_limits() {
    std::unique_ptr<std::remove_pointer_t<cap_t>, int (*)(void *)> own(cap_get_proc(), cap_free);
    cap_flag_value_t value = CAP_CLEAR;
    return own && cap_get_flag(own.get(), CAP_SYS_RESOURCE, CAP_EFFECTIVE, &value) == 0 && value == CAP_SET;
}

NumberGap room_for_stash(const plan::Checkpoint &checkpoint, const plan::FileSchedule &files) {
    std::set<int> used{STDERR_FILENO};
    for (auto &[id, table] : checkpoint.tables)
        for (const img::fdinfo_entry &entry : table)
            used.insert(static_cast<int>(entry.fd()));
    const NumberGap above{.from = *used.rbegin() + 1};
    const uint64_t limit = highest_limit();
    if (static_cast<uint64_t>(above.from) + numbers_needed(files) <= limit)
        return above;
    // A program with a descriptor near the limit.
    NumberGap widest{.from = above.from,
                     .end = std::max(above.from, static_cast<int>(std::min<uint64_t>(limit, INT_MAX)))};
    for (auto number = used.begin(); std::next(number) != used.end(); ++number)
        if (const NumberGap gap{*number + 1, *std::next(number)}; gap.size() > widest.size())
            widest = gap;
    return widest;
}

Result<void> check_descriptors(const plan::Checkpoint &checkpoint, const plan::FileSchedule &files) {
    const NumberGap room = room_for_stash(checkpoint, files);
    const uint64_t needed = numbers_needed(files), limit = highest_limit();
    uint64_t highest = 0;
    for (auto &[id, table] : checkpoint.tables)
        if (!table.empty())
            highest = std::max<uint64_t>(highest, uint64_t{table.back().fd()} + 1);
    if (highest <= limit && needed <= static_cast<uint64_t>(room.size()))
        return {};
    return base::fail(base::Error(base::ErrorKind::Unsupported,
                                  fmt::format("{} files are open in the tree, and a restore needs descriptors up to {} "
                                              "at once: the hard limit on open files is {} here",
                                              files.early.size(), highest + needed, limit))
                          .hint("raise the hard limit on open files (ulimit -Hn), or give criu CAP_SYS_RESOURCE"));
}

Result<void> check_files(const plan::Checkpoint &checkpoint) {
    const bool here = !has_own(checkpoint, tree::NamespaceKind::Mnt); // others' paths lead elsewhere
    for (auto &[id, file] : checkpoint.files) {
        TRY(resource::kind_of_entry(file));
        if (!here || !file.has_reg() || file.reg().ext())
            continue;
        for (auto [remap, end] = checkpoint.remaps.equal_range(id); remap != end; ++remap)
            TRY_CTX(check_remap(checkpoint, file.reg(), remap->second), fmt::format("file {}", id));
    }
    return {};
}

} // namespace restore
