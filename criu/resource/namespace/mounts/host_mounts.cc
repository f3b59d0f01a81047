#include "criu/resource/namespace/mounts/host_mounts.hh"

#include <algorithm>
#include <set>

namespace resource::mounts {
namespace {

bool same_file_system(const parse::Mount &a, const parse::Mount &b) {
    return a.dev_major == b.dev_major && a.dev_minor == b.dev_minor && a.fs_type == b.fs_type && a.source == b.source;
}

std::string joined(const std::string &base, const std::string &rest) {
    if (rest.empty())
        return base;
    return base == "/" ? "/" + rest : base + "/" + rest;
}

bool is_allowed(const parse::Mount &mount, const parse::Mount &host, const Externals &externals) {
    if (mount.master && (!externals.masters || (mount.master != host.shared && mount.master != host.master)))
        return false;
    return !mount.shared || externals.sharing;
}

} // namespace

std::optional<std::string> below(std::string_view base, std::string_view path) {
    if (base == "/")
        base = "";
    if (!path.starts_with(base))
        return std::nullopt;
    path.remove_prefix(base.size());
    if (!path.empty() && path.front() != '/')
        return std::nullopt;
    while (!path.empty() && path.front() == '/')
        path.remove_prefix(1);
    return std::string(path);
}

const parse::Mount *mount_at(std::span<const parse::Mount> all, std::string_view path) {
    const parse::Mount *at = nullptr;
    std::set<int32_t> known;
    for (const parse::Mount &each : all)
        known.insert(each.id);
    for (const parse::Mount &each : all)
        if (each.mount_point == "/" && (each.parent_id == each.id || !known.contains(each.parent_id)))
            at = &each;
    for (bool moved = true; at && moved;) {
        moved = false;
        const parse::Mount *next = nullptr;
        for (const parse::Mount &each : all)
            // The first one on the way: a shorter one covers what lies below it.
            if (each.parent_id == at->id && each.id != at->id && below(each.mount_point, path) &&
                (!next || each.mount_point.size() < next->mount_point.size()))
                next = &each;
        if (next)
            at = next, moved = true;
    }
    return at;
}

std::optional<HostSource> find_source(const parse::Mount &mount, std::span<const parse::Mount> host,
                                      const Externals &externals) {
    std::optional<HostSource> best;
    for (const parse::Mount &each : host) {
        const auto rest = below(each.root, mount.root);
        if (!same_file_system(mount, each) || !rest || !is_allowed(mount, each, externals))
            continue;
        HostSource source{joined(each.mount_point, *rest), mount.shared && mount.shared == each.shared};
        const parse::Mount *shown = mount_at(host, source.path);
        if (!shown || shown->id != each.id) // something else lies on it
            continue;
        if (!best || (source.same_group && !best->same_group))
            best = std::move(source);
    }
    return best;
}

namespace {

const parse::Mount *hiding(const std::vector<parse::Mount> &mounts, const parse::Mount &hidden) {
    for (const parse::Mount &each : mounts)
        if (each.parent_id == hidden.id && each.id != hidden.id && each.mount_point == hidden.mount_point)
            return &each;
    return nullptr;
}

/// With all that lies on it, but for what hides it.
void take_out(std::vector<parse::Mount> &mounts, const parse::Mount hidden, int32_t upper) {
    std::set<int32_t> gone{hidden.id};
    for (bool more = true; more;) {
        more = false;
        for (const parse::Mount &each : mounts)
            if (each.id != upper && gone.contains(each.parent_id))
                more |= gone.insert(each.id).second;
    }
    for (parse::Mount &each : mounts)
        if (each.id == upper)
            each.parent_id = hidden.parent_id;
    std::erase_if(mounts, [&](const parse::Mount &each) { return gone.contains(each.id); });
}

} // namespace

std::vector<parse::Mount> without_hidden(std::vector<parse::Mount> mounts, std::span<const parse::Mount> host,
                                         std::vector<std::string> &left_out) {
    Externals all;
    all.automatic = all.masters = all.sharing = true;
    for (size_t i = 0; i < mounts.size();) {
        const parse::Mount &each = mounts[i];
        const parse::Mount *upper = hiding(mounts, each);
        const bool is_copy =
            std::ranges::any_of(host, [&](const parse::Mount &other) { return same_file_system(each, other); });
        if (!upper || !is_copy || each.mount_point == "/" || find_source(each, host, all)) {
            i++;
            continue;
        }
        left_out.push_back(each.mount_point);
        take_out(mounts, each, upper->id);
        i = 0;
    }
    return mounts;
}

} // namespace resource::mounts
