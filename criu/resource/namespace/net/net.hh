// What the files about a network namespace share.
#pragma once

#include "criu/resource/namespace/namespace.hh"
#include "netdev.pb.h"

namespace resource::net {

// ---- in a thread that is inside of the namespace

/// Why its links cannot be made again. `nested`: it is that of a task below the root. Errors: Unsupported, naming the
/// first such link.
Result<void> check_links(const tree::Namespaces &namespaces, bool nested);
Result<void> dump_links(NamespaceDumpContext &context, uint32_t id);
/// Addresses, routes and rules as the kernel lists them.
Result<void> dump_lists(NamespaceDumpContext &context, uint32_t id);
Result<void> dump_settings(NamespaceDumpContext &context, uint32_t id);
/// Of a network that is the caller's: whether the loopback device was up.
Result<void> dump_loopback(NamespaceDumpContext &context, uint32_t id);

// ---- in the root task, in its fresh namespace

/// Behind the hook setup-namespaces.
Result<void> raise_loopback(NamespaceFillContext &context);

Result<void> fill_links(NamespaceFillContext &context);
/// Behind the addresses.
Result<void> finish_links(NamespaceFillContext &context);
Result<void> fill_lists(NamespaceFillContext &context);
Result<void> fill_settings(NamespaceFillContext &context);

/// The settings of one link (`net/ipv4/conf/NAME`), both families.
Result<void> read_link_settings(const std::string &name, img::net_device_entry &device);
Result<void> write_link_settings(const img::net_device_entry &device, base::Log &log);

} // namespace resource::net
