#include "criu/resource/namespace/mounts/file_systems.hh"

#include <algorithm>
#include <iterator>

namespace resource::mounts {
namespace {

constexpr FileSystem kFileSystems[] = {
    {"proc", img::PROC},
    {"sysfs", img::SYSFS},
    {"devtmpfs", img::DEVTMPFS},
    {"binfmt_misc", img::BINFMT_MISC},
    {"tmpfs", img::TMPFS, Contents::Archive},
    {"devpts", img::DEVPTS},
    {"pstore", img::PSTORE},
    {"securityfs", img::SECURITYFS},
    {"fusectl", img::FUSECTL},
    {"debugfs", img::DEBUGFS},
    {"tracefs", img::TRACEFS},
    {"cgroup", img::CGROUP},
    {"cgroup2", img::CGROUP2},
    {"mqueue", img::MQUEUE},
    {"overlay", img::OVERLAYFS},
};

} // namespace

const FileSystem *find_file_system(std::string_view name) {
    const std::string_view kind = name.substr(0, name.find('.'));
    auto found = std::ranges::find_if(kFileSystems, [&](const FileSystem &each) { return each.name == kind; });
    return found == std::end(kFileSystems) ? nullptr : found;
}

const FileSystem *find_file_system(uint32_t number) {
    auto found = std::ranges::find_if(
        kFileSystems, [&](const FileSystem &each) { return static_cast<uint32_t>(each.number) == number; });
    return found == std::end(kFileSystems) ? nullptr : found;
}

} // namespace resource::mounts
