// Namespaces: the verbs of one kind.
//
//     refuse(tree, ns)      why a tree that lives in such a namespace of its own cannot be saved
//     dump(context, ns)     contents -> images
//     bring(context)        in the coordinator, while the root task waits in its fresh namespace: what is outside
//     fill(context)         in the root task, right after it came into being in a fresh namespace: images -> contents
//
// How a namespace comes into being is the same for all kinds: the root task is created with the clone flags of those
// that are not the host's. Those that only tasks below it live in are made by it as well, before it opens files, and
// entered by descriptor. A namespace of the tool's own is recorded by its number and not filled; that is no special
// case of a kind but the origin of the value (criu/tree/namespaces.hh).
#pragma once

#include "base/journal.hh"
#include "base/log.hh"
#include "base/result.hh"
#include "base/unique_fd.hh"
#include "criu/image/image_dir.hh"
#include "criu/image/image_writer.hh"
#include "criu/kernel/outside.hh"
#include "criu/resource/mm/sysv_segment.hh"
#include "criu/resource/namespace/mounts/later.hh"
#include "criu/resource/namespace/options.hh"
#include "criu/resource/terminals.hh"
#include "criu/tree/facts.hh"
#include "criu/tree/namespaces.hh"

#include <functional>
#include <map>
#include <span>

namespace resource {

using base::Result;

struct NamespaceDumpContext {
    image::ImageDirWriter &images;
    base::Log &log;
    std::span<const tree::TaskFacts> tasks;
    const tree::Namespaces &namespaces;
    const NamespaceOptions &options;
    /// Writes the contents of a memory file as pagemap-shmem-ID.
    const std::function<Result<void>(uint64_t id, int fd)> &dump_contents;
};

/// What is known before anything is written.
struct NamespaceCheckContext {
    std::span<const tree::TaskFacts> tasks;
    const tree::Namespaces &namespaces;
    const NamespaceOptions &options;
};

struct NamespaceFillContext {
    const kernel::Outside &outside;
    const image::ImageDir &images;
    base::Log &log;
    const NamespaceOptions &options;
    uint32_t id = 0;        ///< of the namespace at hand
    uint32_t root_user = 0; ///< number of the root task's user namespace
    bool is_below = false;  ///< it is one that only tasks below the root live in
    /// Those of the kind that tasks below the root live in, by number.
    std::span<const uint32_t> below;
    std::map<uint32_t, base::UniqueFd> &made;   ///< descriptors of namespaces that are there, of all kinds
    const std::map<uint32_t, uint32_t> &owners; ///< numbers of those that belong to a user namespace below -> of that
    /// The user namespace that one belongs to; -1: the root task's.
    int owner_of(uint32_t ns) const {
        const auto found = owners.find(ns);
        return found == owners.end() ? -1 : made.at(found->second).get();
    }
    SegmentSet &segments; ///< keeps System V memory until tasks have attached theirs
    /// Reads pagemap-shmem-ID to a mapping of `size` bytes.
    SegmentSet::Fill fill_contents;
    Masters &masters;                       ///< gets those of terminals that are parts of mounts
    std::vector<mounts::LaterMount> &later; ///< gets mounts that await a pid namespace
};

struct NamespaceBringContext {
    const image::ImageDir &images;
    base::Log &log;
    const NamespaceOptions &options;
    uint32_t id = 0;        ///< of the namespace at hand
    int fd = -1;            ///< of that namespace
    base::Journal &journal; ///< is taken back while the namespace is still there
};

enum class Nesting : uint8_t {
    Never,
    Born, ///< with its first task, whose parent makes both
    Each, ///< fill() fills one at a time, in a thread that has made it
    All,  ///< fill() makes and fills those below together with the root's
};

struct NamespaceKindRow {
    tree::NamespaceKind kind;
    /// Null: it is never refused.
    Result<void> (*refuse)(const NamespaceCheckContext &, const tree::Namespace &);
    /// Null: all there is to know is in other images.
    Result<void> (*dump)(NamespaceDumpContext &, const tree::Namespace &) = nullptr;
    Result<void> (*bring)(NamespaceBringContext &) = nullptr;
    Result<void> (*fill)(NamespaceFillContext &) = nullptr;
    /// Nesting::All, where the root task has none of its own: those below.
    Result<void> (*fill_below)(NamespaceFillContext &) = nullptr;
    /// Instead of unshare() in a thread, and fill(): in the root task itself, makes and fills one for tasks below.
    Result<base::UniqueFd> (*make_below)(NamespaceFillContext &) = nullptr;
    /// How tasks below the root come to others than it has.
    Nesting nesting = Nesting::Never;
};

/// In the order in which they are filled.
std::span<const NamespaceKindRow> namespace_kinds();

/// Why this namespace cannot be saved, in words. Those of the host always can.
Result<void> check_namespace(const NamespaceCheckContext &context, const tree::Namespace &ns);

/// The next child of a task or thread that has called unshare lives elsewhere: whether that can be saved.
Result<void> check_children(std::span<const tree::TaskFacts> tasks, const tree::TaskFacts &task);

/// Whether a restore can make a namespace of this kind for a task below the root. Errors: Unsupported.
Result<void> check_nested(tree::NamespaceKind kind);

/// Writes the contents of all namespaces of the tree's own.
Result<void> dump_namespaces(NamespaceDumpContext &context);

} // namespace resource
