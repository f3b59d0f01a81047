#include "criu/resource/namespace/mounts/overlay.hh"

#include "criu/kernel/io.hh"
#include "criu/resource/namespace/mounts/host_mounts.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <iterator>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

namespace resource::mounts {
namespace {

/// Lower directories: between colons, where one of a name has a backslash before it.
void add_layers(std::string_view list, std::vector<std::string> &out) {
    std::string layer;
    for (size_t i = 0; i <= list.size(); i++) {
        if (i < list.size() && list[i] == '\\' && i + 1 < list.size()) {
            layer += list[++i];
        } else if (i < list.size() && list[i] != ':') {
            layer += list[i];
        } else if (!layer.empty()) { // "::" begins the layers that hold data only
            out.push_back(std::exchange(layer, {}));
        }
    }
}

size_t root_of(const MountPlan &plan, size_t step) {
    while (plan.steps[step].parent != step)
        step = plan.steps[step].parent;
    return step;
}

/// Whether a directory of an overlay lies on another mount of its namespace.
bool builds_on(const MountPlan &plan, const std::vector<img::mnt_entry> &entries, size_t step, size_t on) {
    const img::mnt_entry &overlay = entries[plan.steps[step].entry], &other = entries[plan.steps[on].entry];
    return is_overlay_of_tree(overlay) && root_of(plan, step) == root_of(plan, on) &&
           std::ranges::any_of(overlay_directories(overlay.options()),
                               [&](const std::string &path) { return below(other.mountpoint(), path).has_value(); });
}

/// Marks those that are made in their places. Returns them, with what lies on them.
std::set<size_t> find_overlays(MountPlan &plan, const std::vector<img::mnt_entry> &entries) {
    std::set<size_t> found;
    for (bool more = true; more;) { // a part may come before its whole
        more = false;
        for (size_t step = 0; step < plan.steps.size(); step++) {
            MountStep &each = plan.steps[step];
            if (each.origin == Origin::New)
                each.made_in_place = is_overlay_of_tree(entries[each.entry]);
            else if (each.origin == Origin::Part)
                each.made_in_place = plan.steps[each.whole].made_in_place;
            if (each.made_in_place || found.contains(each.parent))
                more |= found.insert(step).second;
        }
    }
    return found;
}

} // namespace

void put_overlays_last(MountPlan &plan, const std::vector<img::mnt_entry> &entries) {
    const std::set<size_t> last = find_overlays(plan, entries);
    std::vector<size_t> rest;
    for (size_t step : plan.trees)
        if (last.contains(step))
            rest.push_back(step);
    std::ranges::copy_if(plan.attaching, std::back_inserter(rest), [&](size_t step) { return last.contains(step); });
    std::erase_if(plan.attaching, [&](size_t step) { return last.contains(step); });
    const auto waits_for = [&](size_t step, size_t other) {
        const MountStep &each = plan.steps[step];
        return step != other && (each.parent == other || (each.origin == Origin::Part && each.whole == other) ||
                                 builds_on(plan, entries, step, other));
    };
    while (!rest.empty()) {
        auto next = std::ranges::find_if(rest, [&](size_t step) {
            return std::ranges::none_of(rest, [&](size_t other) { return waits_for(step, other); });
        });
        if (next == rest.end()) // a circle, as damaged images have: a directory is not found then
            next = rest.begin();
        plan.attaching.push_back(*next);
        rest.erase(next);
    }
}

std::vector<std::string> overlay_directories(std::string_view options) {
    std::vector<std::string> found;
    while (!options.empty()) {
        const size_t end = std::min(options.find(','), options.size());
        const std::string_view option = options.substr(0, end);
        options.remove_prefix(std::min(end + 1, options.size()));
        const size_t equals = option.find('=');
        const std::string_view name = option.substr(0, equals);
        const std::string_view value = equals == option.npos ? "" : option.substr(equals + 1);
        if (name == "lowerdir")
            add_layers(value, found);
        else if (name == "upperdir" || name == "workdir" || name == "lowerdir+" || name == "datadir+")
            found.emplace_back(value);
    }
    return found;
}

bool is_overlay_of_tree(const img::mnt_entry &entry) {
    return entry.fstype() == img::OVERLAYFS && entry.root() == "/" && !entry.has_ext_key() && !entry.deleted() &&
           !overlay_directories(entry.options()).empty();
}

// By magic links (/proc/1/root) an image could name what is outside.
base::Result<void> check_directories(int root, const img::mnt_entry &entry) {
    constexpr auto kHow = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    for (const std::string &path : overlay_directories(entry.options())) {
        open_how how{.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .mode = 0, .resolve = kHow};
        const bool is_plain =
            path.starts_with('/') && path.find('\\') == path.npos; // the kernel takes backslashes away
        if (is_plain && base::UniqueFd(static_cast<int>(syscall(SYS_openat2, root, path.c_str(), &how, sizeof how))))
            continue;
        return base::fail(
            base::Error(base::ErrorKind::Unsupported,
                        fmt::format("mount {}: an overlay of the directory {}, which is not found in the tree",
                                    entry.mountpoint(), path))
                .hint(fmt::format("--external 'mnt[{}]:KEY' at the dump leaves the mount to the caller, who gives KEY "
                                  "a path at the restore",
                                  entry.mountpoint())));
    }
    return {};
}

base::Result<void> check_overlays(base::Pid member, std::span<const img::mnt_entry> entries,
                                  std::set<uint32_t> &known) {
    if (std::ranges::none_of(entries, is_overlay_of_tree))
        return {};
    const base::UniqueFd root =
        TRY(kernel::open_at(AT_FDCWD, fmt::format("/proc/{}/root", member.value).c_str(), O_PATH | O_DIRECTORY));
    for (const img::mnt_entry &entry : entries)
        if (is_overlay_of_tree(entry) && known.insert(entry.root_dev()).second)
            TRY(check_directories(root.get(), entry));
    return {};
}

} // namespace resource::mounts
