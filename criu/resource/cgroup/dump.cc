#include "criu/kernel/listing.hh"
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
                      img::cgroup_dir_entry &entry) {
    constexpr int kDeepest = 64;
    if (std::ranges::count(path, '/') > kDeepest)
        return base::unsupported(fmt::format("control groups more than {} deep", kDeepest));
    base::UniqueFd directory(openat(parent, path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory)
        return base::fail_sys(fmt::format("open the control group {}", path));
    entry.set_dir_name(name);
    TRY(read_group(directory.get(), controllers, entry));
    for (const std::string &child : TRY(kernel::list_names(directory.get(), DT_DIR)))
        TRY(describe(directory.get(), child, child, controllers, *entry.add_children()));
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

} // namespace

Result<Sets> Sets::collect(std::span<const tree::TaskFacts> tasks, const std::string &own) {
    Sets sets;
    std::map<std::string, uint32_t> known{{own, kOwnSet}};
    for (const parse::CgroupMembership &line : TRY(parse::parse_cgroup(own)))
        sets.own_order_.push_back(joined(line));
    for (const tree::TaskFacts &task : tasks)
        for (const tree::ThreadFacts &thread : task.threads) {
            const std::string text = TRY(kernel::read_file(
                AT_FDCWD, fmt::format("/proc/{}/task/{}/cgroup", task.voice.value, thread.tid.value).c_str()));
            auto [number, fresh] = known.emplace(text, static_cast<uint32_t>(known.size()) + 1);
            sets.by_thread_[thread.tid] = number->second;
            if (fresh)
                for (const parse::CgroupMembership &line : TRY(parse::parse_cgroup(text)))
                    sets.sets_[number->second][joined(line)] = line.path;
        }
    return sets;
}

Result<void> Sets::dump(image::ImageDirWriter &images) const {
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
            paths[controllers].insert(path);
        }
    }
    Hierarchies hierarchies;
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
                    TRY_CTX(describe(root, relative(head), head.substr(1), controllers, *out->add_dirs()),
                            fmt::format("control group {}:{}", controllers, head));
        }
    return images.add(image::ImageKind::Cgroup, 0, entry);
}

} // namespace resource::cgroup
