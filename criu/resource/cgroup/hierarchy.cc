#include "criu/resource/cgroup/hierarchy.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/vfs.h>

namespace resource::cgroup {
namespace {

Result<void> choose(int context, std::string_view controllers) {
    if (controllers.starts_with("name=") && fsconfig(context, FSCONFIG_SET_FLAG, "none", nullptr, 0) < 0)
        return base::fail_sys("fsconfig(none)");
    while (!controllers.empty()) {
        const size_t end = std::min(controllers.find(','), controllers.size());
        const std::string word(controllers.substr(0, end));
        controllers.remove_prefix(std::min(end + 1, controllers.size()));
        const size_t equals = word.find('=');
        const int set = equals == word.npos ? fsconfig(context, FSCONFIG_SET_FLAG, word.c_str(), nullptr, 0)
                                            : fsconfig(context, FSCONFIG_SET_STRING, word.substr(0, equals).c_str(),
                                                       word.substr(equals + 1).c_str(), 0);
        if (set < 0)
            return base::fail_sys(fmt::format("fsconfig({})", word));
    }
    return {};
}

Result<base::UniqueFd> mount_for_us(const std::string &controllers) {
    base::UniqueFd context(fsopen(controllers.empty() ? "cgroup2" : "cgroup", FSOPEN_CLOEXEC));
    if (!context)
        return base::fail_sys("fsopen");
    TRY(choose(context.get(), controllers));
    if (fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0)
        return base::fail_sys("fsconfig(create)");
    base::UniqueFd root(fsmount(context.get(), FSMOUNT_CLOEXEC, 0));
    if (!root)
        return base::fail_sys("fsmount");
    return root;
}

/// As CRIU finds them there: version 2 is called unified, a hierarchy without controllers by its own name.
Result<base::UniqueFd> open_in(const std::string &yard, std::string_view controllers) {
    constexpr std::string_view kOwnName = "name=";
    if (controllers.starts_with(kOwnName))
        controllers.remove_prefix(kOwnName.size());
    const std::string path = fmt::format("{}/{}", yard, controllers.empty() ? "unified" : controllers);
    base::UniqueFd root(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!root)
        return base::fail_sys(fmt::format("open {}", path));
    struct statfs what {};
    const bool is_one =
        fstatfs(root.get(), &what) == 0 && (what.f_type == CGROUP_SUPER_MAGIC || what.f_type == CGROUP2_SUPER_MAGIC);
    if (!is_one)
        return base::fail(base::ErrorKind::Usage, fmt::format("{} is no file system of control groups", path));
    return root;
}

} // namespace

Result<int> Hierarchies::open(const std::string &controllers) {
    base::UniqueFd &root = roots_[controllers];
    if (!root)
        root = TRY_CTX(yard_.empty() ? mount_for_us(controllers) : open_in(yard_, controllers),
                       fmt::format("the control groups of \"{}\"", controllers.empty() ? "version 2" : controllers));
    return root.get();
}

std::string relative(const std::string &path) {
    const size_t start = path.find_first_not_of('/');
    return start == path.npos ? "." : path.substr(start);
}

} // namespace resource::cgroup
