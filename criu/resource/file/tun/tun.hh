// Descriptors of /dev/net/tun, and the network devices behind them.
#pragma once

#include "criu/resource/file/file.hh"
#include "netdev.pb.h"

namespace resource {

/// What a device is besides its queues. `queue` is one of them.
Result<img::net_device_entry> describe_tun_device(base::Log &log, int queue, const std::string &name);
/// For a device that was just made by attaching `queue`: what has to be set while it is down, then addresses and
/// routes.
Result<void> set_up_tun_device(base::Log &log, int queue, const img::net_device_entry &device);
/// Index of the device of that name in our network namespace; 0 if there is none.
uint32_t device_index(const std::string &name);

// tun_features.cc
/// What TUNSETOFFLOAD has set.
Result<uint32_t> tun_offloads(const std::string &name);

// tun_routes.cc
/// Addresses, routes and permanent neighbours, as netlink tells them.
Result<void> dump_addresses_and_routes(base::Log &log, uint32_t index, img::ext_net_device *ext);
Result<void> restore_addresses_and_routes(uint32_t index, const img::ext_net_device &ext);

} // namespace resource
