// The namespaces that a restored tree gets of its own, and who is who in them.
#pragma once

#include "base/journal.hh"
#include "criu/engine/restore/context.hh"
#include "criu/resource/mm/sysv_segment.hh"
#include "criu/resource/namespace/options.hh"

namespace restore {

/// Whether the namespaces of the images can be made. Errors: Unsupported.
Result<void> check_namespaces(const plan::Checkpoint &checkpoint, const resource::NamespaceOptions &options);

/// Whether the root of the tree lived in a namespace of this kind that was not the tool's.
bool has_own(const plan::Checkpoint &checkpoint, tree::NamespaceKind kind);
/// Whether the tree lived in a time namespace of its own.
bool has_own_clocks(const plan::Checkpoint &checkpoint);

/// Clone flags of the root task: one for each kind of namespace that is neither the host's nor given.
uint64_t namespace_flags(const plan::Checkpoint &checkpoint, const GivenNamespaces &given);

/// What the image knows as the number of a task's namespace.
uint32_t number_in_images(const plan::TaskImage &task, tree::NamespaceKind kind);

/// Gives the user namespace of the root task, which waits, its ids. Nothing where it has none of its own.
Result<void> give_ids(const RestoreContext &context);

/// In the coordinator, while the root task waits in its fresh namespaces: what comes into them from outside.
/// `journal` must be taken back before the tree is ended.
Result<void> bring_into_namespaces(const RestoreContext &context, base::Pid root, base::Journal &journal);

/// In the root task, first of all: what the images hold of its fresh namespaces.
/// `segments` keeps System V memory until tasks have attached theirs.
/// `masters`: gets those of terminals that are parts of mounts.
Result<void> fill_namespaces(RestoreContext &context, resource::SegmentSet &segments, resource::Masters &masters);

/// Image numbers of the namespaces of a kind that only tasks below the root live in, in ascending order.
std::vector<uint32_t> below(const plan::Checkpoint &checkpoint, tree::NamespaceKind kind);
/// The first task that lives in one of those.
const plan::TaskImage &member_of(const plan::Checkpoint &checkpoint, tree::NamespaceKind kind, uint32_t id);
bool has_any_below(const plan::Checkpoint &checkpoint);

/// In a task below the root, first of all: goes to those of its namespaces that its parent does not live in.
Result<void> enter_namespaces(const RestoreContext &context, const plan::TaskImage &task,
                              const plan::TaskImage &parent);

/// Goes to the task's mounts, unless it is there. Late, as /proc there may not show it; but who shares its directories
/// with others cannot any more.
Result<void> enter_mounts(RestoreContext &context, const plan::TaskImage &task);

/// When a task has forked all others and opened all it has: goes to its user namespace (`ns`), as who it is there.
/// `creds`: as the root task's user namespace calls them.
Result<void> take_on_user_namespace(const img::creds_entry &creds, int ns);

/// Of mounts that only tasks below the root have: what to put before a path there ("/proc/PID/root"), by the image's
/// number of the mount. For the coordinator, when the tasks are there.
Result<std::map<uint32_t, std::string>> mounts_below(const RestoreContext &context);

/// Who has which number of the images, of all processes and threads below `root`. They must not come and go.
/// Errors: Died.
Result<tree::PidMap> find_pids(base::Pid root);

} // namespace restore
