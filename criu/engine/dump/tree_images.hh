// Images about the tree as a whole: pstree.img and the inventory.
#pragma once

#include "base/log.hh"
#include "criu/image/image_writer.hh"
#include "criu/tree/facts.hh"

namespace dump {

using base::Result;

Result<void> write_process_tree(image::ImageDirWriter &images, const std::vector<tree::TaskFacts> &tasks);

/// timens-0.img: what the clocks of the tree show. CRIU's restore puts them back by a time namespace, without which a
/// program whose deadlines are absolute waits for ever after a reboot. The split layout does not know it.
Result<void> write_clocks(image::ImageDirWriter &images);

/// A random UUID (RFC 9562, version 4): tells checkpoints apart, and names what a dump leaves in the kernel.
std::string make_run_id();

struct InventoryFacts {
    std::string run_id;
    bool compressed = false; ///< pages: older readers are not to try
    bool tcp_close = false;
    bool network_locked = true;        ///< as opposed to --network-lock skip
    std::vector<std::string> plugins;  ///< that a restore needs
    bool allow_uprobes = false;        ///< there were probes in the tasks, or might have been
    std::optional<uint64_t> uptime_us; ///< of a dump that others may build on: when the tree stood still,
                                       ///< as /proc/uptime counts (CLOCK_BOOTTIME)
    std::optional<uint32_t> pre_dump;  ///< the mode of a pre-dump
};
/// Writes the inventory, last of all: the directory is a checkpoint from here on.
Result<void> finish_images(image::ImageDirWriter &images, const InventoryFacts &facts,
                           const tree::Namespaces &namespaces);

/// Says so if the directory held an earlier checkpoint.
void warn_of_removed(const image::ImageDirWriter &images, base::Log &log);

} // namespace dump
