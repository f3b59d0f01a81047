#include "criu/resource/cgroup/properties.hh"

#include "base/listing.hh"
#include "base/unique_fd.hh"
#include "criu/kernel/io.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <memory>
#include <span>
#include <sys/stat.h>
#include <unistd.h>

namespace resource::cgroup {
namespace {

struct Controller {
    std::string_view name;
    std::vector<const char *> properties;
};

/// Version 1, as CRIU has them.
const Controller kVersion1[] = {
    {"cpu", {"cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us", "cpu.rt_period_us", "cpu.rt_runtime_us"}},
    {"memory",
     {"memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.swappiness", "memory.soft_limit_in_bytes",
      "memory.move_charge_at_immigrate", "memory.oom_control", "memory.use_hierarchy", "memory.kmem.limit_in_bytes",
      "memory.kmem.tcp.limit_in_bytes"}},
    {"cpuset",
     {"cpuset.cpus", "cpuset.mems", "cpuset.memory_migrate", "cpuset.cpu_exclusive", "cpuset.mem_exclusive",
      "cpuset.mem_hardwall", "cpuset.memory_spread_page", "cpuset.memory_spread_slab", "cpuset.sched_load_balance",
      "cpuset.sched_relax_domain_level"}},
    {"blkio", {"blkio.weight"}},
    {"net_cls", {"net_cls.classid"}},
    {"net_prio", {"net_prio.ifpriomap"}},
    {"pids", {"pids.max"}},
    {"devices", {"devices.list"}},
};
const std::vector<const char *> kEveryVersion1 = {"cgroup.clone_children", "notify_on_release", "cgroup.procs",
                                                  "tasks"};

/// Files of version 2 that can be written and hold no setting: orders, and what moves tasks.
constexpr std::string_view kOrders[] = {"cgroup.kill",     "memory.reclaim", "cgroup.procs",    "cgroup.threads",
                                        "cgroup.pressure", "memory.peak",    "memory.swap.peak"};

/// Only their owner matters, as of "cgroup.procs": who may move tasks into the group.
constexpr std::string_view kOwnerOnly[] = {"cgroup.procs", "tasks", "cgroup.threads"};

constexpr std::string_view kEarly[] = {
    "cpuset.cpus",        "cpuset.mems",          "devices.list", "memory.swappiness",
    "memory.oom_control", "memory.use_hierarchy", "cgroup.type",  "memory.kmem.limit_in_bytes"};

bool is_one_of(std::span<const std::string_view> names, std::string_view name) {
    return std::ranges::find(names, name) != names.end();
}

void write(const struct stat &st, img::cgroup_perms *permissions) {
    permissions->set_mode(st.st_mode);
    permissions->set_uid(st.st_uid);
    permissions->set_gid(st.st_gid);
}

std::string value_of(std::string_view name, std::string text) {
    constexpr size_t kMost = 1023;
    while (!text.empty() && text.back() == '\n')
        text.pop_back();
    text.resize(std::min(text.size(), kMost));
    if (name == "memory.oom_control") // "oom_kill_disable 1\nunder_oom 0": the first is what one writes
        return text.starts_with("oom_kill_disable 1") ? "1" : "0";
    constexpr std::string_view kUnlimited = "9223372036854771712"; // of pages, the largest number of bytes
    return text == kUnlimited ? "-1" : text;
}

/// A name of an image or of the user is a file of this group and nothing else.
bool is_plain(const std::string &name) {
    return !name.empty() && name.find('/') == name.npos && name.front() != '.';
}

/// Nothing where the group has no such file.
Result<void> read_one(int directory, const char *name, img::cgroup_dir_entry &entry) {
    struct stat st {};
    if (fstatat(directory, name, &st, 0) < 0)
        return {};
    std::string text;
    if (!is_one_of(kOwnerOnly, name)) {
        auto read = kernel::read_file(directory, name);
        if (!read)
            return {}; // some can be looked at in some states only
        text = value_of(name, std::move(*read));
    }
    img::cgroup_prop_entry *property = entry.add_properties();
    property->set_name(name);
    property->set_value(text);
    write(st, property->mutable_perms());
    return {};
}

/// What the user names, where it is a file of this group.
Result<void> read_named(int directory, const PropertyList &list, img::cgroup_dir_entry &entry) {
    for (const std::string &name : list.names) {
        const auto &all = entry.properties();
        const bool known = std::ranges::any_of(all, [&](const auto &each) { return each.name() == name; });
        if (is_plain(name) && !known)
            TRY(read_one(directory, name.c_str(), entry));
    }
    return {};
}

std::vector<std::string> parts_of(const std::string &controllers) {
    std::vector<std::string> parts;
    for (size_t start = 0; start <= controllers.size();) {
        const size_t end = std::min(controllers.find(',', start), controllers.size());
        parts.push_back(controllers.substr(start, end - start));
        start = end + 1;
    }
    return parts;
}

Result<void> read_version1(int directory, const std::string &controllers, const PropertyLists &lists,
                           img::cgroup_dir_entry &entry) {
    for (const std::string &part : parts_of(controllers)) {
        auto list = lists.find(part);
        auto known = std::ranges::find(kVersion1, part, &Controller::name);
        if (known != std::end(kVersion1) && (list == lists.end() || !list->second.replaces))
            for (const char *name : known->properties)
                TRY(read_one(directory, name, entry));
        if (list != lists.end())
            TRY(read_named(directory, list->second, entry));
    }
    for (const char *name : kEveryVersion1)
        TRY(read_one(directory, name, entry));
    return {};
}

/// Every file that can be read and written says something that was set: no list gets old.
Result<void> read_version2(int directory, const PropertyLists &lists, img::cgroup_dir_entry &entry) {
    auto list = lists.find("");
    if (list != lists.end())
        TRY(read_named(directory, list->second, entry));
    if (list != lists.end() && list->second.replaces)
        return {};
    for (const std::string &name : TRY(base::list_names(directory, DT_REG))) {
        struct stat st {};
        const bool set = fstatat(directory, name.c_str(), &st, 0) == 0 && (st.st_mode & 0200) && (st.st_mode & 0400);
        const bool counts = !is_one_of(kOrders, name) || is_one_of(kOwnerOnly, name);
        const bool known =
            list != lists.end() && std::ranges::find(list->second.names, name) != list->second.names.end();
        if (set && counts && !known && !name.ends_with(".pressure"))
            TRY(read_one(directory, name.c_str(), entry));
    }
    return {};
}

/// "a" is denied, and then each line allowed.
Result<void> write_devices(int directory, const std::string &list) {
    TRY(kernel::write_file(directory, "devices.deny", "a"));
    for (size_t start = 0; start < list.size();) {
        const size_t end = std::min(list.find('\n', start), list.size());
        TRY(kernel::write_file(directory, "devices.allow", list.substr(start, end - start)));
        start = end + 1;
    }
    return {};
}

/// Controllers for the groups below: those that are on go off, those of the image on, in one write.
Result<void> write_subtree_control(int directory, const std::string &wanted) {
    std::string text;
    for (size_t start = 0; start < wanted.size();) {
        const size_t end = std::min(wanted.find(' ', start), wanted.size());
        text += (text.empty() ? "+" : " +") + wanted.substr(start, end - start);
        start = end + 1;
    }
    return text.empty() ? Result<void>() : kernel::write_file(directory, "cgroup.subtree_control", text);
}

/// Nothing to do where it says so already, which also keeps us from what the kernel refuses for no reason.
bool is_so(int directory, const img::cgroup_prop_entry &property) {
    auto now = kernel::read_file(directory, property.name().c_str());
    return now && value_of(property.name(), std::move(*now)) == property.value();
}

/// Of some files a default is no order that the kernel would take.
bool is_default(const img::cgroup_prop_entry &property) {
    return (property.name() == "memory.swappiness" && property.value() == "60") ||
           (property.name() == "memory.oom_control" && property.value() == "0") ||
           (property.name() == "cgroup.type" && property.value() != "threaded");
}

Result<void> write_value(int directory, const img::cgroup_prop_entry &property) {
    if (is_one_of(kOwnerOnly, property.name()) || is_default(property) || is_so(directory, property))
        return {};
    if (property.name() == "devices.list")
        return write_devices(directory, property.value());
    if (property.name() == "cgroup.subtree_control")
        return write_subtree_control(directory, property.value());
    return kernel::write_file(directory, property.name().c_str(), property.value());
}

Result<void> write_property(int directory, const img::cgroup_prop_entry &property, base::Log &log) {
    if (!is_plain(property.name()))
        return base::bad_image(fmt::format("cgroup.img: a property of an impossible name ({})", property.name()));
    // CRIU leaves the permissions of this one as garbage, and what it says is seen to at the end.
    if (property.name() == "freezer.state")
        return {};
    if (property.has_perms() && (property.perms().uid() || property.perms().gid()))
        (void)fchownat(directory, property.name().c_str(), property.perms().uid(), property.perms().gid(), 0);
    if (auto written = write_value(directory, property); !written)
        log.warn(fmt::format("control groups: {}: {}", property.name(), written.error().message()));
    return {};
}

Result<void> write_some(int directory, const img::cgroup_dir_entry &entry, base::Log &log, bool early) {
    for (const img::cgroup_prop_entry &property : entry.properties())
        if (is_one_of(kEarly, property.name()) == early)
            TRY(write_property(directory, property, log));
    return {};
}

} // namespace

Result<void> read_group(int directory, const std::string &controllers, const PropertyLists &lists,
                        img::cgroup_dir_entry &entry) {
    struct stat st {};
    if (fstat(directory, &st) < 0)
        return base::fail_sys("look at a control group");
    write(st, entry.mutable_dir_perms());
    return controllers.empty() ? read_version2(directory, lists, entry)
                               : read_version1(directory, controllers, lists, entry);
}

Result<void> write_permissions(int directory, const img::cgroup_perms &permissions) {
    if (fchown(directory, permissions.uid(), permissions.gid()) < 0 ||
        fchmod(directory, permissions.mode() & 07777) < 0)
        return base::fail_sys("set owner and mode of a control group");
    return {};
}

Result<void> write_early(int directory, const img::cgroup_dir_entry &entry, base::Log &log) {
    return write_some(directory, entry, log, true);
}

Result<void> write_late(int directory, const img::cgroup_dir_entry &entry, base::Log &log) {
    return write_some(directory, entry, log, false);
}

} // namespace resource::cgroup
