#include "base/listing.hh"
#include "criu/kernel/io.hh"
#include "criu/kernel/namespaces.hh"
#include "criu/resource/cgroup/cgroup.hh"
#include "criu/resource/cgroup/properties.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <memory>
#include <set>
#include <unistd.h>

namespace resource::cgroup {
namespace {

constexpr std::string_view kNamed = "name=";

std::string joined(const parse::CgroupMembership &line) {
    return fmt::format("{}", fmt::join(line.controllers, ","));
}

/// A group and everything below it.
Result<void> describe(int parent, const std::string &path, const std::string &name, const std::string &controllers,
                      const PropertyLists &lists, img::cgroup_dir_entry &entry) {
    constexpr int kDeepest = 64;
    if (std::ranges::count(path, '/') > kDeepest)
        return base::unsupported(fmt::format("control groups more than {} deep", kDeepest));
    base::UniqueFd directory(openat(parent, path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory)
        return base::fail_sys(fmt::format("open the control group {}", path));
    entry.set_dir_name(name);
    TRY(read_group(directory.get(), controllers, lists, entry));
    for (const std::string &child : TRY(base::list_names(directory.get(), DT_DIR)))
        TRY(describe(directory.get(), child, child, controllers, lists, *entry.add_children()));
    return {};
}

/// Groups that tasks are in, without those that lie below another one.
std::vector<std::string> topmost(std::set<std::string> paths) {
    std::vector<std::string> heads;
    for (const std::string &path : paths) // shorter ones first
        if (std::ranges::none_of(heads, [&](const std::string &head) {
                return head == "/" || path == head || path.starts_with(head + "/");
            }))
            heads.push_back(path);
    return heads;
}

std::string groups_of(base::Pid process, base::Pid thread) {
    return fmt::format("/proc/{}/task/{}/cgroup", process.value, thread.value);
}

/// What comes before `inner`, the path as the namespace has it. Nothing if it does not lie in there.
std::optional<std::string> namespace_root(const std::string &outer, const std::string &inner) {
    if (inner == "/")
        return outer;
    if (!outer.ends_with(inner) || inner.starts_with("/.."))
        return std::nullopt;
    return outer.substr(0, outer.size() - inner.size());
}

} // namespace

Result<void> Sets::find_namespace_roots(base::Pid root, const tree::Namespaces &namespaces) {
    const base::UniqueFd fd = TRY(kernel::open_namespace(root, tree::NamespaceKind::Cgroup));
    std::string text;
    TRY(kernel::inside(std::array{fd.get()}, [&]() -> Result<void> {
        text = TRY(kernel::read_file(AT_FDCWD, groups_of(root, root).c_str()));
        return {};
    }));
    const Set &outside = sets_.at(by_thread_.at(root));
    for (const parse::CgroupMembership &line : TRY(parse::parse_cgroup(text))) {
        auto known = outside.find(joined(line));
        if (known == outside.end())
            continue; // of a controller that nobody wants
        const std::string &outer = known->second;
        const auto begin = namespace_root(outer, line.path);
        if (!begin)
            return base::fail(
                base::Error(base::ErrorKind::Unsupported,
                            fmt::format("task {}: it lives in a cgroup namespace of its own (cgroup:[{}]), and in the "
                                        "group {} outside of it",
                                        root.value, namespaces.of_root(tree::NamespaceKind::Cgroup)->inode, outer))
                    .hint("move it into a group below that in which it has called unshare"));
        if (*begin != "/")
            namespace_roots_[joined(line)] = *begin;
    }
    return {};
}

Result<Sets> Sets::collect(std::span<const tree::TaskFacts> tasks, const tree::Namespaces &namespaces,
                           const std::string &own, const Options &options) {
    const auto is_wanted = [&](const std::string &controllers) {
        return options.controllers.empty() ||
               std::ranges::find(options.controllers, controllers) != options.controllers.end();
    };
    Sets sets;
    const bool own_namespace = namespaces.root_has_own(tree::NamespaceKind::Cgroup);
    std::map<std::string, uint32_t> known{{own_namespace ? std::string() : own, kOwnSet}};
    for (const parse::CgroupMembership &line : TRY(parse::parse_cgroup(own)))
        sets.own_order_.push_back(joined(line));
    for (const tree::TaskFacts &task : tasks)
        for (const tree::ThreadFacts &thread : task.threads) {
            const std::string text = TRY(kernel::read_file(AT_FDCWD, groups_of(task.voice, thread.tid).c_str()));
            auto [number, fresh] = known.emplace(text, static_cast<uint32_t>(known.size()) + 1);
            sets.by_thread_[thread.tid] = number->second;
            if (fresh)
                for (const parse::CgroupMembership &line : TRY(parse::parse_cgroup(text)))
                    if (is_wanted(joined(line)))
                        sets.sets_[number->second][joined(line)] = line.path;
        }
    if (own_namespace)
        TRY(sets.find_namespace_roots(tasks.front().pid, namespaces));
    return sets;
}

Result<void> Sets::dump(image::ImageDirWriter &images, const Options &options) const {
    if (only_own())
        return {};
    img::cgroup_entry entry;
    std::map<std::string, std::set<std::string>> paths; // controllers -> groups in use
    for (const auto &[number, set] : sets_) {
        img::cg_set_entry *out = entry.add_sets();
        out->set_id(number);
        for (const auto &[controllers, path] : set) { // sorted by name, as CRIU has them
            img::cg_member_entry *member = out->add_ctls();
            member->set_name(controllers);
            member->set_path(path);
            if (auto begin = namespace_roots_.find(controllers);
                begin != namespace_roots_.end() && (path + "/").starts_with(begin->second + "/"))
                member->set_cgns_prefix(static_cast<uint32_t>(begin->second.size()));
            paths[controllers].insert(path);
        }
    }
    Hierarchies hierarchies(options.yard);
    for (bool named : {false, true})
        for (const std::string &controllers : own_order_) {
            if (controllers.starts_with(kNamed) != named || !paths.contains(controllers))
                continue;
            img::cg_controller_entry *out = entry.add_controllers();
            for (size_t start = 0; start <= controllers.size();) {
                const size_t end = std::min(controllers.find(',', start), controllers.size());
                out->add_cnames(controllers.substr(start, end - start));
                start = end + 1;
            }
            out->set_is_threaded(!controllers.empty());
            auto opened = hierarchies.open(controllers);
            if (!opened)
                return base::fail(
                    std::move(opened.error().hint("--manage-cgroups=ignore leaves them out: the tasks come "
                                                  "back in the groups of criu restore")));
            const int root = *opened;
            for (const std::string &head : topmost(paths[controllers]))
                if (head != "/") // the root is no group of the tree's
                    TRY_CTX(describe(root, relative(head), head.substr(1), controllers, options.properties,
                                     *out->add_dirs()),
                            fmt::format("control group {}:{}", controllers, head));
        }
    return images.add(image::ImageKind::Cgroup, 0, entry);
}

} // namespace resource::cgroup
