#include "criu/resource/cgroup/hierarchy.hh"

#include <fmt/format.h>
#include <sys/mount.h>

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

} // namespace

Result<int> Hierarchies::open(const std::string &controllers) {
    base::UniqueFd &root = roots_[controllers];
    if (!root)
        root = TRY_CTX(mount_for_us(controllers),
                       fmt::format("the control groups of \"{}\"", controllers.empty() ? "version 2" : controllers));
    return root.get();
}

std::string relative(const std::string &path) {
    const size_t start = path.find_first_not_of('/');
    return start == path.npos ? "." : path.substr(start);
}

} // namespace resource::cgroup
