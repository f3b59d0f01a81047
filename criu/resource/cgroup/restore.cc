#include "criu/kernel/io.hh"
#include "criu/resource/cgroup/cgroup.hh"
#include "criu/resource/cgroup/properties.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace resource::cgroup {
namespace {

/// ".." would lead out of the groups of the tree.
bool is_sound(const std::string &path) {
    return ("/" + path + "/").find("/../") == std::string::npos;
}

/// Rewrites paths below the groups of an image to where the caller wants them.
class Rewriter {
public:
    explicit Rewriter(const std::vector<Root> &roots) : roots_(roots) {}

    std::optional<std::string> root_of(const std::string &controllers) const {
        std::optional<std::string> found;
        for (const Root &root : roots_)
            if (root.all || root.controller == controllers)
                found = root.path;
        return found;
    }

    /// A path of the image, whose topmost group (or the part that is the root of a cgroup namespace) becomes the root.
    std::string rewrite(const std::string &controllers, const std::string &path, const std::string &head) const {
        const auto root = root_of(controllers);
        if (!root || head.empty() || !(path + "/").starts_with(head == "/" ? head : head + "/"))
            return path;
        return (*root == "/" ? "" : *root) + path.substr(head == "/" ? 0 : head.size());
    }

private:
    const std::vector<Root> &roots_;
};

std::string names_of(const img::cg_controller_entry &controller) {
    return fmt::format("{}", fmt::join(controller.cnames(), ","));
}

bool exists(int root, const std::string &path) {
    struct stat st {};
    return fstatat(root, path.c_str(), &st, 0) == 0;
}

/// mkdir -p. Returns the directories that were made.
Result<std::vector<std::string>> make_path(int root, const std::string &path) {
    std::vector<std::string> made;
    for (size_t end = 0; end < path.size();) {
        end = std::min(path.find('/', end + 1), path.size());
        const std::string part = path.substr(0, end);
        if (mkdirat(root, part.c_str(), 0755) == 0)
            made.push_back(part);
        else if (errno != EEXIST)
            return base::fail_sys(fmt::format("make the control group {}", part));
    }
    return made;
}

/// A fresh group of the controller cpuset takes no tasks before it has processors and memory.
Result<void> inherit_cpuset(int root, const std::string &path) {
    const size_t slash = path.rfind('/');
    const std::string above = slash == path.npos ? "." : path.substr(0, slash);
    for (const char *name : {"cpuset.cpus", "cpuset.mems"}) {
        const std::string file = fmt::format("{}/{}", path, name);
        auto now = kernel::read_file(root, file.c_str());
        auto parents = kernel::read_file(root, fmt::format("{}/{}", above, name).c_str());
        if (now && parents && now->find_first_not_of('\n') == now->npos)
            TRY(kernel::write_file(root, file.c_str(), *parents));
    }
    return {};
}

} // namespace

Result<void> Groups::prepare_one(int root, const std::string &path, const img::cgroup_dir_entry &entry,
                                 const Options &options, base::Log &log) {
    const bool there = exists(root, path);
    const bool makes = options.mode == Mode::Soft || options.mode == Mode::Full || options.mode == Mode::Strict;
    if (!there && !makes)
        return base::fail(base::Error(base::ErrorKind::Unsupported, fmt::format("Cgroup dir {} doesn't exist", path))
                              .hint("make it, or let the restore do so: --manage-cgroups=soft"));
    if (there && options.mode == Mode::Strict)
        return base::fail(base::Error(base::ErrorKind::Busy, fmt::format("the control group {} exists already", path))
                              .hint("--manage-cgroups=soft takes it as it is"));
    if (!there) {
        for (std::string &made : TRY(make_path(root, path))) {
            TRY(inherit_cpuset(root, made));
            made_.push_back({root, std::move(made)});
        }
    }
    base::UniqueFd directory(openat(root, path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory)
        return base::fail_sys("open it");
    if (entry.has_dir_perms() && options.mode != Mode::None)
        TRY(write_permissions(directory.get(), entry.dir_perms()));
    if (!there)
        TRY(write_early(directory.get(), entry, log));
    if (!there || options.mode == Mode::Props || options.mode == Mode::Full)
        pending_.push_back({std::move(directory), entry});
    return {};
}

Result<void> Groups::prepare_tree(const std::string &controllers, const img::cgroup_dir_entry &entry,
                                  const std::string &above, const Options &options, base::Log &log) {
    const std::string path = above.empty() ? entry.dir_name() : above + "/" + entry.dir_name();
    if (!is_sound(path))
        return base::bad_image(fmt::format("cgroup.img: an impossible group {}", path));
    if (!path.empty()) // "" is the root of the hierarchy, which is nobody's
        TRY_CTX(prepare_one(TRY(hierarchies_->open(controllers)), relative(path), entry, options, log),
                fmt::format("control group {}:/{}", controllers, path));
    for (const img::cgroup_dir_entry &child : entry.children())
        TRY(prepare_tree(controllers, child, path, options, log));
    return {};
}

Result<Groups> Groups::prepare(const image::ImageDir &images, const Options &options, base::Log &log) {
    Groups groups;
    groups.hierarchies_ = std::make_unique<Hierarchies>(options.yard);
    if (options.mode == Mode::Ignore)
        return groups;
    const auto entry = TRY(images.read_one<img::cgroup_entry>(image::ImageKind::Cgroup));
    if (!entry)
        return groups;
    const Rewriter rewriter(options.roots);
    std::map<std::string, std::vector<std::string>> heads; // as in the image
    for (const img::cg_controller_entry &controller : entry->controllers())
        for (img::cgroup_dir_entry tree : controller.dirs()) {
            const std::string names = names_of(controller), head = "/" + tree.dir_name();
            heads[names].push_back(head);
            tree.set_dir_name(relative(rewriter.rewrite(names, head, head)));
            if (tree.dir_name() == ".")
                tree.set_dir_name("");
            // A hierarchy that this machine lacks cannot hold anybody back.
            if (auto root = groups.hierarchies_->open(names); !root) {
                log.warn(fmt::format("{}: what the images say of them is left out", root.error().message()));
                continue;
            }
            TRY(groups.prepare_tree(names, tree, {}, options, log));
        }
    for (const img::cg_set_entry &set : entry->sets())
        for (const img::cg_member_entry &member : set.ctls()) {
            std::string path = member.path(), head; // none: a path that no group of the image is above stays
            if (member.cgns_prefix() && member.cgns_prefix() <= path.size())
                head = path.substr(0, member.cgns_prefix());
            else
                for (const std::string &each : heads[member.name()])
                    if ((path + "/").starts_with(each + "/"))
                        head = each;
            if (!is_sound(path))
                return base::bad_image(fmt::format("cgroup.img: an impossible group {}", path));
            groups.sets_[set.id()][member.name()] = rewriter.rewrite(member.name(), path, head);
            groups.namespace_roots_[set.id()][member.name()] =
                rewriter.rewrite(member.name(), member.cgns_prefix() ? head : path, head);
        }
    return groups;
}

Result<const Groups::Paths *> Groups::paths_of(uint32_t set) const {
    auto found = sets_.find(set);
    if (found == sets_.end())
        return base::bad_image(fmt::format("cgroup.img: No set {} found", set));
    return &found->second;
}

Result<void> Groups::move(const Paths &paths, base::Pid pid, const char *file, const char *file_v2) const {
    for (const auto &[controllers, path] : paths) {
        auto root = hierarchies_->open(controllers);
        if (!root)
            continue; // said before
        const std::string target = fmt::format("{}/{}", relative(path), controllers.empty() ? file_v2 : file);
        TRY_CTX(kernel::write_file(*root, target.c_str(), std::to_string(pid.value)),
                fmt::format("move process {} into the control group {}:{}", pid.value, controllers, path));
    }
    return {};
}

Result<void> Groups::move_process(uint32_t set, base::Pid pid) const {
    return move(*TRY(paths_of(set)), pid, "cgroup.procs", "cgroup.procs");
}

Result<void> Groups::move_to_namespace_root(uint32_t set, base::Pid pid) const {
    TRY(paths_of(set));
    return move(namespace_roots_.at(set), pid, "cgroup.procs", "cgroup.procs");
}

Result<void> Groups::move_thread(uint32_t set, base::Pid tid) const {
    return move(*TRY(paths_of(set)), tid, "tasks", "cgroup.threads");
}

Result<void> Groups::finish(base::Log &log) const {
    for (const Pending &group : pending_)
        TRY(write_late(group.directory.get(), group.entry, log));
    return {};
}

// The tasks that were in them have been killed, but a group is in use until the last of them has been collected.
Groups::~Groups() {
    constexpr int kTries = 50, kPauseUs = 10'000;
    for (auto group = made_.rbegin(); group != made_.rend(); ++group)
        for (int i = 0; i < kTries && unlinkat(group->root, group->path.c_str(), AT_REMOVEDIR) < 0 && errno == EBUSY;
             i++)
            usleep(kPauseUs);
}

} // namespace resource::cgroup
