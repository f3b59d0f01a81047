#include "criu/engine/dump/tree_images.hh"

#include "criu/engine/dump/ids.hh"

#include "timens.pb.h"

#include <ctime>
#include <fmt/format.h>
#include <sys/random.h>

namespace dump {
namespace {

constexpr uint32_t kImageVersion = 2;
constexpr uint32_t kCompressedImageVersion = 3; // which CRIU 4.2 refuses
constexpr uint32_t kOwnCgroupSet = 1;

void read_clock(clockid_t clock, img::timespec *out) {
    timespec now{};
    clock_gettime(clock, &now);
    out->set_tv_sec(static_cast<uint64_t>(now.tv_sec));
    out->set_tv_nsec(static_cast<uint64_t>(now.tv_nsec));
}

} // namespace

std::string make_run_id() {
    uint16_t r[8] = {};
    if (getrandom(r, sizeof r, 0) != sizeof r)
        return {};
    return fmt::format("{:04x}{:04x}-{:04x}-4{:03x}-{:04x}-{:04x}{:04x}{:04x}", r[0], r[1], r[2], r[3] & 0xfff,
                       (r[4] & 0x3fff) | 0x8000, r[5], r[6], r[7]);
}

Result<void> write_process_tree(image::ImageDirWriter &images, const std::vector<tree::TaskFacts> &tasks) {
    for (const tree::TaskFacts &task : tasks) {
        img::pstree_entry entry;
        const auto pid = static_cast<uint32_t>(task.vpid.value);
        entry.set_pid(pid);
        entry.set_ppid(static_cast<uint32_t>(task.vparent.value));
        entry.set_pgid(static_cast<uint32_t>(task.vgroup.value));
        entry.set_sid(static_cast<uint32_t>(task.vsession.value));
        if (task.zombie || task.leader_ended())
            entry.add_threads(pid);
        for (const tree::ThreadFacts &thread : task.threads)
            entry.add_threads(static_cast<uint32_t>(thread.vtid.value));
        TRY(images.add(image::ImageKind::Pstree, 0, entry));
    }
    return {};
}

Result<void> write_clocks(image::ImageDirWriter &images) {
    img::timens_entry clocks;
    read_clock(CLOCK_MONOTONIC, clocks.mutable_monotonic());
    read_clock(CLOCK_BOOTTIME, clocks.mutable_boottime());
    return images.add(image::ImageKind::Timens, 0, clocks);
}

Result<void> finish_images(image::ImageDirWriter &images, const InventoryFacts &facts,
                           const tree::Namespaces &namespaces) {
    img::inventory_entry inventory;
    inventory.set_img_version(facts.compressed ? kCompressedImageVersion : kImageVersion);
    inventory.set_fdinfo_per_id(true);
    *inventory.mutable_root_ids() = host_ids_entry(namespaces);
    inventory.set_ns_per_id(true);
    inventory.set_root_cg_set(kOwnCgroupSet);
    inventory.set_lsmtype(img::NO_LSM);
    auto *plugins = inventory.mutable_plugins_entry();
    for (const std::string &name : facts.plugins)
        plugins->add_plugins(name);
    constexpr uint32_t kNftables = 1, kSkip = 2; // CRIU's numbers
    inventory.set_network_lock_method(facts.network_locked ? kNftables : kSkip);
    if (facts.tcp_close)
        inventory.set_tcp_close(true);
    inventory.set_dump_criu_run_id(facts.run_id);
    if (facts.uptime_us)
        inventory.set_dump_uptime(*facts.uptime_us);
    if (facts.allow_uprobes)
        inventory.set_allow_uprobes(true);
    if (facts.pre_dump)
        inventory.set_pre_dump_mode(*facts.pre_dump);
    TRY(images.add(image::ImageKind::Inventory, 0, inventory));
    return images.finish();
}

void warn_of_removed(const image::ImageDirWriter &images, base::Log &log) {
    if (const size_t removed = images.removed_images())
        log.warn(
            fmt::format("the directory of images held {} files of an earlier checkpoint: they are removed", removed));
}

} // namespace dump
