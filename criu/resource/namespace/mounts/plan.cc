#include "criu/resource/namespace/mounts/plan.hh"

#include "criu/resource/namespace/mounts/file_systems.hh"
#include "criu/resource/namespace/mounts/host_mounts.hh"
#include "criu/resource/namespace/mounts/overlay.hh"
#include "criu/resource/namespace/mounts/table.hh"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <map>
#include <set>

namespace resource::mounts {
namespace {

using Entry = img::mnt_entry;
using Entries = std::vector<Entry>;

constexpr size_t kNone = SIZE_MAX;

std::string name_of(const Entry &entry) {
    return fmt::format("mount {}", entry.mountpoint());
}

size_t depth_of(std::string_view path) {
    return path == "/" ? 0 : static_cast<size_t>(std::ranges::count(path, '/'));
}

bool climbs(std::string_view path) {
    return path.empty() || path.front() != '/' || (std::string(path) + "/").find("/../") != std::string::npos;
}

class Planner {
public:
    Planner(const Entries &entries, const Externals &externals, std::vector<size_t> tables)
        : entries_(entries), externals_(externals), tables_(std::move(tables)) {
        tables_.insert(tables_.begin(), 0);
        tables_.push_back(entries.size());
    }

    Result<MountPlan> plan() {
        TRY(index());
        TRY(find_roots());
        TRY(make_root());
        TRY(make_independent());
        TRY(make_parts());
        for (size_t root : roots_)
            plan_.trees.push_back(step_of_[root]);
        TRY(find_parents());
        order_attaching();
        put_overlays_last(plan_, entries_);
        TRY(put_off());
        TRY(share());
        return std::move(plan_);
    }

private:
    Result<void> index() {
        for (size_t i = 0; i < entries_.size(); i++) {
            const Entry &entry = entries_[i];
            if (!by_id_.emplace(entry.mnt_id(), i).second)
                return base::bad_image(fmt::format("mount {} is there twice", entry.mnt_id()));
            if (climbs(entry.mountpoint()) || (!entry.has_ext_key() && climbs(entry.root())))
                return base::bad_image(fmt::format("{}: an impossible path", name_of(entry)));
        }
        step_of_.assign(entries_.size(), kNone);
        return {};
    }

    size_t add(size_t entry, Origin origin, std::string path) {
        step_of_[entry] = plan_.steps.size();
        MountStep step;
        step.entry = entry;
        step.origin = origin;
        step.path = std::move(path);
        plan_.steps.push_back(std::move(step));
        return plan_.steps.size() - 1;
    }

    const Entry &entry_of(size_t step) const { return entries_[plan_.steps[step].entry]; }
    bool is_root(size_t step) const { return std::ranges::find(roots_, plan_.steps[step].entry) != roots_.end(); }

    /// The root of each table.
    Result<void> find_roots() {
        for (size_t table = 0; table + 1 < tables_.size(); table++)
            roots_.push_back(TRY(find_root(tables_[table], tables_[table + 1])));
        return {};
    }

    Result<size_t> find_root(size_t begin, size_t end) const {
        size_t root = kNone;
        for (size_t i = begin; i < end; i++) {
            if (by_id_.contains(entries_[i].parent_mnt_id()) && entries_[i].parent_mnt_id() != entries_[i].mnt_id())
                continue;
            if (root != kNone || entries_[i].mountpoint() != "/")
                return base::bad_image(fmt::format("{}: its parent is missing", name_of(entries_[i])));
            root = i;
        }
        if (root == kNone)
            return base::bad_image("no mount is the root");
        return root;
    }

    Result<void> make_root() {
        if (externals_.root.empty())
            return base::fail(base::Error(base::ErrorKind::Usage, "the tree has mounts of its own, and no directory "
                                                                  "that becomes its root")
                                  .hint("--root DIRECTORY names it: where the root file system of the tree is now"));
        add(roots_.front(), Origin::Root, externals_.root);
        return {};
    }

    /// The source of one that a dump has found by itself is a path of the dump's machine: what of the caller's the tree
    /// gets to see is the caller's to say, not the image's, so he has to say mnt[] once more.
    Result<std::string> path_given(const Entry &entry) const {
        if (auto path = externals_.path_of(entry.ext_key()))
            return *path;
        if (entry.ext_key() == kFoundKey) {
            if (externals_.automatic)
                return "/" + entry.source();
            return base::fail(base::Error(base::ErrorKind::Unsupported,
                                          fmt::format("{}: the dump has found it as /{} of its own mounts",
                                                      name_of(entry), entry.source()))
                                  .hint("--external 'mnt[]' takes such mounts from the same paths"));
        }
        return base::fail(
            base::Error(base::ErrorKind::Unsupported,
                        fmt::format("No mapping for {}:{} mountpoint", entry.mnt_id(), entry.mountpoint()))
                .hint(fmt::format("--external 'mnt[{}]:PATH' names what belongs there", entry.ext_key())));
    }

    Result<std::string> device_given(const Entry &entry) const {
        const std::string_view source = entry.source();
        if (entry.ext_key() != kDeviceKey)
            return std::string();
        const bool named = source.starts_with("dev[") && source.ends_with("]");
        const std::string name(named ? source.substr(4, source.size() - 5) : source);
        auto found = externals_.devices.find(name);
        if (found != externals_.devices.end())
            return found->second;
        return base::fail(base::Error(base::ErrorKind::Unsupported,
                                      fmt::format("{}: no device is given for {}", name_of(entry), name))
                              .hint(fmt::format("--external 'dev[{}]:/dev/...' names it", name)));
    }

    Result<bool> make_given(size_t i) {
        const Entry &entry = entries_[i];
        if (!entry.has_ext_key() || entry.ext_key() == kDeviceKey)
            return false;
        if (entry.ext_key().starts_with(kNamespaceKey)) {
            const std::string kind = entry.ext_key().substr(kNamespaceKey.size());
            if (kind.find('/') != kind.npos)
                return base::bad_image(fmt::format("{}: an impossible namespace", name_of(entry)));
            add(i, Origin::Namespace, "self/ns/" + kind);
        } else if (entry.ext_key().starts_with(kProcKey)) {
            const size_t step = add(i, Origin::Proc, *below("/", entry.root()));
            const std::string number = entry.ext_key().substr(kProcKey.size());
            if (std::from_chars(number.data(), number.data() + number.size(), plan_.steps[step].awaits).ec !=
                    std::errc() ||
                !plan_.steps[step].awaits || climbs(entry.root()))
                return base::bad_image(fmt::format("{}: an impossible pid namespace", name_of(entry)));
        } else
            add(i, Origin::External, TRY(path_given(entry)));
        return true;
    }

    /// What needs no other mount: the caller's, and the first mount of each file system as a whole.
    Result<void> make_independent() {
        std::set<uint32_t> devices{entry_of(0).root_dev()};
        for (size_t i = 0; i < entries_.size(); i++) {
            const Entry &entry = entries_[i];
            if (step_of_[i] != kNone || TRY(make_given(i)))
                continue;
            if (entry.root() != "/" || type_of(entry).empty() || !devices.insert(entry.root_dev()).second)
                continue;
            const FileSystem *kind = find_file_system(entry);
            const size_t step = add(i, Origin::New, TRY(device_given(entry)));
            plan_.steps[step].archived = kind && kind->contents == Contents::Archive && !entry.has_ext_key();
        }
        return {};
    }

    /// The mount that shows most of the same file system, among those made so far.
    std::optional<size_t> find_whole(const Entry &part) const {
        std::optional<size_t> best;
        for (size_t step = 0; step < plan_.steps.size(); step++) {
            const Entry &whole = entry_of(step);
            if (whole.root_dev() != part.root_dev() || whole.deleted() || !below(whole.root(), part.root()))
                continue;
            if (!best || whole.root().size() < entry_of(*best).root().size())
                best = step;
        }
        return best;
    }

    Result<void> make_parts() {
        for (size_t i = 0; i < entries_.size(); i++) {
            if (step_of_[i] != kNone)
                continue;
            const auto whole = find_whole(entries_[i]);
            if (!whole)
                return base::bad_image(
                    fmt::format("{}: no mount shows the file system that it is a part of", name_of(entries_[i])));
            const size_t step = add(i, Origin::Part, *below(entry_of(*whole).root(), entries_[i].root()));
            plan_.steps[step].whole = *whole;
        }
        return {};
    }

    Result<void> find_parents() {
        for (size_t i = 0; i < plan_.steps.size(); i++) {
            if (is_root(i)) {
                plan_.steps[i].parent = i;
                continue;
            }
            const Entry &entry = entry_of(i), &parent = entries_[by_id_.at(entry.parent_mnt_id())];
            plan_.steps[i].parent = step_of_[by_id_.at(entry.parent_mnt_id())];
            const auto place = below(parent.mountpoint(), entry.mountpoint());
            if (!place || plan_.steps[i].parent == i)
                return base::bad_image(
                    fmt::format("{}: it does not lie below the mount that it is attached to", name_of(entry)));
            plan_.steps[i].place = *place;
        }
        return check_for_circles();
    }

    Result<void> check_for_circles() const {
        for (size_t i = 0; i < plan_.steps.size(); i++) {
            size_t at = i;
            for (size_t climbed = 0; !is_root(at); at = plan_.steps[at].parent)
                if (climbed++ > plan_.steps.size())
                    return base::bad_image(fmt::format("{}: it is mounted on itself", name_of(entry_of(i))));
        }
        return {};
    }

    void order_attaching() {
        std::vector<std::vector<size_t>> children(plan_.steps.size());
        for (size_t i = 0; i < plan_.steps.size(); i++)
            if (!is_root(i))
                children[plan_.steps[i].parent].push_back(i);
        std::vector<size_t> under_way = plan_.trees;
        for (size_t next = 0; next < under_way.size(); next++) {
            auto &below = children[under_way[next]];
            std::ranges::stable_sort(below, std::greater(),
                                     [&](size_t step) { return depth_of(plan_.steps[step].place); });
            under_way.insert(under_way.end(), below.begin(), below.end());
        }
        plan_.attaching.assign(under_way.begin() + static_cast<ptrdiff_t>(plan_.trees.size()), under_way.end());
    }

    /// What lies on a mount that comes later comes with it.
    Result<void> put_off() {
        std::vector<size_t> now;
        for (size_t step : plan_.attaching) {
            MountStep &each = plan_.steps[step];
            if (const uint32_t parents = is_root(each.parent) ? 0 : plan_.steps[each.parent].awaits;
                parents && each.awaits != parents) {
                if (each.made_in_place)
                    return base::unsupported(
                        fmt::format("{}: an overlay on a proc file system of the tree", name_of(entry_of(step))));
                if (each.awaits)
                    return base::unsupported(
                        fmt::format("{}: a proc file system on another one's", name_of(entry_of(step))));
                each.awaits = parents;
            }
            (each.awaits ? plan_.later : now).push_back(step);
        }
        plan_.attaching = std::move(now);
        for (size_t step : plan_.later)
            for (size_t other : plan_.attaching)
                if (plan_.steps[other].parent == plan_.steps[step].parent &&
                    below(entry_of(other).mountpoint(), entry_of(step).mountpoint()) &&
                    entry_of(other).mountpoint() != entry_of(step).mountpoint())
                    return base::unsupported(
                        fmt::format("{}: {} covers it", name_of(entry_of(step)), entry_of(other).mountpoint()));
        return {};
    }

    /// Groups that mounts of the tool's are in, beside which the tree's are.
    std::set<uint32_t> groups_of_given() const {
        std::set<uint32_t> given;
        if (!externals_.beside)
            return given;
        for (const MountStep &step : plan_.steps) {
            const Entry &entry = entries_[step.entry];
            if (step.origin != Origin::External || entry.ext_key() != kFoundKey)
                continue;
            if (entry.shared_id() && !entry.internal_sharing())
                given.insert(entry.shared_id());
            if (entry.master_id())
                given.insert(entry.master_id());
        }
        given.erase(0);
        return given;
    }

    /// Groups by number: the mount that shows most of the file system leads, the others copy from it.
    Result<void> share() {
        std::map<uint32_t, size_t> leaders;
        const std::set<uint32_t> given = groups_of_given();
        for (size_t i = 0; i < plan_.steps.size(); i++)
            if (given.contains(entry_of(i).shared_id()))
                plan_.sharing.push_back({.step = i, .of_given = true});
            else if (const uint32_t group = entry_of(i).shared_id(); group && plan_.steps[i].origin != Origin::Proc) {
                auto [leader, fresh] = leaders.emplace(group, i);
                if (!fresh && entry_of(i).root().size() < entry_of(leader->second).root().size())
                    leader->second = i;
            }
        std::set<uint32_t> done;
        for (auto &[group, leader] : leaders)
            TRY(share_group(group, leaders, done, 0));
        for (size_t i = 0; i < plan_.steps.size(); i++) // slaves that share with nobody
            if (const uint32_t master = entry_of(i).master_id();
                master && !given.contains(master) && !entry_of(i).shared_id() && plan_.steps[i].origin != Origin::Proc)
                if (auto leader = leaders.find(master); leader != leaders.end())
                    plan_.sharing.push_back({.step = i, .leader = leader->second, .becomes_slave = true});
        return {};
    }

    /// Masters before those that receive from them.
    Result<void> share_group(uint32_t group, const std::map<uint32_t, size_t> &leaders, std::set<uint32_t> &done,
                             size_t climbed) {
        if (!done.insert(group).second)
            return {};
        constexpr size_t kDeepest = 1000;
        if (climbed > kDeepest)
            return base::bad_image("groups of mounts that receive from each other without end");
        const size_t leader = leaders.at(group);
        Propagation first{.step = leader, .becomes_shared = true};
        if (auto master = leaders.find(entry_of(leader).master_id()); master != leaders.end()) {
            TRY(share_group(master->first, leaders, done, climbed + 1));
            first.leader = master->second;
            first.becomes_slave = true;
        }
        plan_.sharing.push_back(first);
        for (size_t i = 0; i < plan_.steps.size(); i++)
            if (i != leader && entry_of(i).shared_id() == group && plan_.steps[i].origin != Origin::Proc)
                plan_.sharing.push_back({.step = i, .leader = leader});
        return {};
    }

    const Entries &entries_;
    const Externals &externals_;
    std::vector<size_t> tables_; ///< where each begins in the entries, and the end of all
    std::vector<size_t> roots_;  ///< entries, by table
    std::map<uint32_t, size_t> by_id_;
    std::vector<size_t> step_of_; ///< by entry
    MountPlan plan_;
};

std::string print_origin(const MountStep &step, const MountPlan &plan, const Entries &entries) {
    const Entry &entry = entries[step.entry];
    switch (step.origin) {
    case Origin::Root:
        return fmt::format("root directory {}", step.path);
    case Origin::External:
        return fmt::format("given: {}", step.path);
    case Origin::New:
        return fmt::format("new {}{}{}{}{}", type_of(entry), entry.options().empty() ? "" : " ", entry.options(),
                           step.path.empty() ? "" : " on " + step.path, step.archived ? ", filled" : "");
    case Origin::Part:
        return fmt::format("part of {}: /{}{}", entries[plan.steps[step.whole].entry].mountpoint(), step.path,
                           entry.deleted() ? ", deleted" : "");
    case Origin::Namespace:
        return fmt::format("namespace {}", step.path);
    case Origin::Proc:
        return fmt::format("proc of pid namespace {}: /{}", step.awaits, step.path);
    }
    return {};
}

} // namespace

std::vector<img::mnt_entry> without_skipped(std::vector<img::mnt_entry> entries, const Externals &externals) {
    std::set<uint32_t> skipped;
    for (bool more = true; more;) {
        more = false;
        for (const Entry &entry : entries)
            if (entry.mountpoint() != "/" &&
                (skipped.contains(entry.parent_mnt_id()) || externals.skips(entry.mountpoint())))
                more |= skipped.insert(entry.mnt_id()).second;
    }
    std::erase_if(entries, [&](const Entry &entry) { return skipped.contains(entry.mnt_id()); });
    return entries;
}

Result<MountPlan> plan_mounts(const std::vector<img::mnt_entry> &entries, const Externals &externals,
                              std::vector<size_t> below) {
    return Planner(entries, externals, std::move(below)).plan();
}

std::string print(const MountPlan &plan, const std::vector<img::mnt_entry> &entries) {
    std::string out;
    for (const MountStep &step : plan.steps)
        out += fmt::format("mount {}: {}\n", entries[step.entry].mountpoint(), print_origin(step, plan, entries));
    for (size_t i = 1; i < plan.trees.size(); i++)
        out += fmt::format("another namespace: {}\n", print_origin(plan.steps[plan.trees[i]], plan, entries));
    for (size_t step : plan.attaching)
        out += fmt::format("attach {}\n", entries[plan.steps[step].entry].mountpoint());
    for (size_t step : plan.later)
        out += fmt::format("attach {} when pid namespace {} is there\n", entries[plan.steps[step].entry].mountpoint(),
                           plan.steps[step].awaits);
    for (const Propagation &each : plan.sharing)
        out += fmt::format("propagation of {}:{}{}{}\n", entries[plan.steps[each.step].entry].mountpoint(),
                           each.leader ? " joins " + entries[plan.steps[*each.leader].entry].mountpoint() : "",
                           each.becomes_slave ? " slave" : "",
                           each.becomes_shared ? " shared"
                           : each.of_given     ? " as given"
                                               : "");
    return out;
}

} // namespace resource::mounts
