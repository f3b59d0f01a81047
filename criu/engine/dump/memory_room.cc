#include "criu/engine/dump/memory_room.hh"

#include "compel/injection.hh"
#include "criu/kernel/io.hh"

#include <algorithm>
#include <charconv>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <functional>
#include <mntent.h>
#include <sstream>
#include <string_view>

namespace dump {
namespace {

namespace fs = std::filesystem;

/// Names of a hierarchy's files.
struct MemoryController {
    const char *limit, *usage, *swap_limit, *swap_usage;
    bool swap_includes_memory;
};
constexpr MemoryController kVersion1{"memory.limit_in_bytes", "memory.usage_in_bytes", "memory.memsw.limit_in_bytes",
                                     "memory.memsw.usage_in_bytes", true};
constexpr MemoryController kVersion2{"memory.max", "memory.current", "memory.swap.max", "memory.swap.current", false};

std::string text_of(const fs::path &path) {
    return kernel::read_file(AT_FDCWD, path.c_str()).value_or(std::string());
}

/// Nothing for "max" and where there is no such file.
std::optional<uint64_t> number_in(std::string_view text) {
    uint64_t value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() ? std::optional(value) : std::nullopt;
}

uint64_t difference(std::optional<uint64_t> most, std::optional<uint64_t> used) {
    return !most ? UINT64_MAX : *most - std::min(*most, used.value_or(0));
}

/// Bytes of the page cache, which the kernel takes back before it ends anybody.
uint64_t page_cache(const fs::path &folder) {
    uint64_t bytes = 0;
    std::istringstream lines(text_of(folder / "memory.stat"));
    const bool totals = lines.str().find("total_") != std::string::npos;
    for (std::string key, value; lines >> key >> value;)
        for (std::string_view kind : {"inactive_file", "active_file"})
            if (key == (totals ? "total_" : "") + std::string(kind))
                bytes += number_in(value).value_or(0);
    return bytes;
}

uint64_t room_in_swap(const fs::path &folder, const MemoryController &names, uint64_t memory_usage) {
    const auto most = number_in(text_of(folder / names.swap_limit));
    auto used = number_in(text_of(folder / names.swap_usage));
    if (names.swap_includes_memory && used)
        *used = std::max(*used, memory_usage);
    return std::min(bytes_of(text_of("/proc/meminfo"), "SwapFree:"), difference(most, used));
}

/// Room in one group, not minding those above.
uint64_t room_in(const fs::path &folder, const MemoryController &names, uint64_t enough) {
    const auto limit = number_in(text_of(folder / names.limit));
    const auto usage = number_in(text_of(folder / names.usage));
    uint64_t room = difference(limit, usage);
    if (room < enough) // the cheap answer was not good
        room += page_cache(folder) + room_in_swap(folder, names, usage.value_or(0));
    return room;
}

struct Place {
    fs::path mount, folder;
    const MemoryController *names = nullptr;
};

/// The path of a line of /proc/PID/cgroup that belongs to the hierarchy; empty if none does.
std::string path_in(std::string_view groups, const std::string &controller, bool unified) {
    std::istringstream lines{std::string(groups)};
    for (std::string line; std::getline(lines, line);) {
        const size_t first = line.find(':'), second = line.find(':', first + 1);
        if (second == std::string::npos)
            continue;
        const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
        if (unified ? controllers == ",," : controllers.find("," + controller + ",") != std::string::npos)
            return line.substr(second + 1);
    }
    return {};
}

/// Where a controller has the task; `file`: one that the group has in version 1 and 2.
std::optional<Place> place_of(const tree::TaskFacts &task, const std::string &controller,
                              const std::function<const char *(const MemoryController &)> &file) {
    const std::string groups = text_of(fmt::format("/proc/{}/cgroup", task.voice.value));
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    if (!mounts)
        return std::nullopt;
    std::optional<Place> found;
    while (const mntent *mount = getmntent(mounts)) {
        const std::string_view type = mount->mnt_type;
        const bool unified = type == "cgroup2";
        if (!unified && !(type == "cgroup" && hasmntopt(mount, controller.c_str())))
            continue;
        const std::string path = path_in(groups, controller, unified);
        const fs::path folder = fs::path(mount->mnt_dir) / fs::path(path).relative_path();
        const MemoryController &names = unified ? kVersion2 : kVersion1;
        if (path.size() > 1 && fs::exists(folder / file(names)))
            found = Place{mount->mnt_dir, folder, &names};
    }
    endmntent(mounts);
    return found;
}

std::optional<Place> memory_place_of(const tree::TaskFacts &task) {
    return place_of(task, "memory", [](const MemoryController &names) { return names.usage; });
}

/// The least that `usage` lacks of `limit`, in the group and those above it.
uint64_t least_left(const Place &place, const char *limit, const char *usage) {
    uint64_t room = UINT64_MAX;
    for (fs::path folder = place.folder; folder != place.mount && folder.has_relative_path();
         folder = folder.parent_path())
        room = std::min(room, difference(number_in(text_of(folder / limit)), number_in(text_of(folder / usage))));
    return room;
}

} // namespace

uint64_t bytes_of(std::string_view text, std::string_view key) {
    const size_t at = text.find(key), digits = text.find_first_of("0123456789", at);
    return at == text.npos || digits == text.npos ? 0 : number_in(text.substr(digits)).value_or(0) << 10;
}

uint64_t memory_left(const tree::TaskFacts &task) {
    const auto place = memory_place_of(task);
    return place ? least_left(*place, place->names->limit, place->names->usage) : UINT64_MAX;
}

uint64_t processes_left(const tree::TaskFacts &task) {
    const auto place = place_of(task, "pids", [](const MemoryController &) { return "pids.current"; });
    return place ? least_left(*place, "pids.max", "pids.current") : UINT64_MAX;
}

Result<void> MemoryRoom::check(const tree::TaskFacts &task) {
    constexpr uint64_t kPageTablesAndStacks = 128 << 10;
    const uint64_t needed = compel::Injection::site_size(task.threads.size()) + kPageTablesAndStacks;
    const auto place = memory_place_of(task);
    if (!place)
        return {};
    for (fs::path folder = place->folder; folder != place->mount && folder.has_relative_path();
         folder = folder.parent_path()) {
        if (!roomy_.insert(folder).second)
            continue;
        const uint64_t room = room_in(folder, *place->names, needed);
        if (room < needed)
            return base::fail(
                base::Error(base::ErrorKind::Unsupported,
                            fmt::format("its memory cgroup {} has {} KiB left, and the dump needs {} there",
                                        folder.string(), room >> 10, needed >> 10))
                    .hint(fmt::format("raise {} there for the time of the dump", place->names->limit)));
    }
    return {};
}

} // namespace dump
