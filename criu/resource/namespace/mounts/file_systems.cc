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
    {"pstore", img::PSTORE, Contents::Empty},
    {"securityfs", img::SECURITYFS},
    {"fusectl", img::FUSECTL},
    {"debugfs", img::DEBUGFS},
    {"tracefs", img::TRACEFS},
    {"cgroup", img::CGROUP},
    {"cgroup2", img::CGROUP2},
    {"mqueue", img::MQUEUE},
    {"overlay", img::OVERLAYFS},
    // These have a name in the images and no number.
    {"hugetlbfs", img::AUTO, Contents::Empty},
    {"bpf", img::AUTO, Contents::Empty},
    {"ramfs", img::AUTO, Contents::Archive},
};

} // namespace

const FileSystem *find_file_system(std::string_view name) {
    const std::string_view kind = name.substr(0, name.find('.'));
    auto found = std::ranges::find_if(kFileSystems, [&](const FileSystem &each) { return each.name == kind; });
    return found == std::end(kFileSystems) ? nullptr : found;
}

const FileSystem *find_file_system(const img::mnt_entry &entry) {
    if (entry.fstype() == img::AUTO)
        return find_file_system(entry.fsname());
    auto found = std::ranges::find_if(
        kFileSystems, [&](const FileSystem &each) { return static_cast<uint32_t>(each.number) == entry.fstype(); });
    return found == std::end(kFileSystems) ? nullptr : found;
}

std::string type_of(const img::mnt_entry &entry) {
    if (entry.fstype() == img::AUTO)
        return entry.fsname();
    const FileSystem *kind = find_file_system(entry);
    return kind ? kind->name : "";
}

} // namespace resource::mounts
