#include "criu/kernel/control_group.hh"

#include "criu/kernel/io.hh"

#include <fcntl.h>
#include <mntent.h>
#include <string>
#include <string_view>
#include <unistd.h>

namespace kernel {
namespace {

/// Whether we are in the root already: moving takes milliseconds, wherever from. `line` is of /proc/self/cgroup.
bool is_elsewhere(std::string_view line) {
    const size_t path = line.find(':', line.find(':') + 1);
    return path != std::string_view::npos && line.substr(path + 1) != "/";
}

bool belongs_to(std::string_view line, const mntent &mount) {
    const size_t from = line.find(':') + 1;
    const std::string controllers(line.substr(from, line.find(':', from) - from));
    const bool unified = std::string_view(mount.mnt_type) == "cgroup2";
    if (controllers.empty() || unified)
        return controllers.empty() && unified;
    return std::string_view(mount.mnt_type) == "cgroup" &&
           hasmntopt(&mount, controllers.substr(0, controllers.find(',')).c_str());
}

void move_to_root(const mntent &mount) {
    const int fd = open((std::string(mount.mnt_dir) + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)!write(fd, "0", 1); // not allowed in a container, say
    close(fd);
}

} // namespace

void leave_control_groups() {
    const std::string groups = read_file(AT_FDCWD, "/proc/self/cgroup").value_or(std::string());
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    if (!mounts)
        return;
    while (const mntent *mount = getmntent(mounts))
        for (size_t at = 0, end; (end = groups.find('\n', at)) != std::string::npos; at = end + 1)
            if (const auto line = std::string_view(groups).substr(at, end - at);
                is_elsewhere(line) && belongs_to(line, *mount))
                move_to_root(*mount);
    endmntent(mounts);
}

} // namespace kernel
