// From the entries of an image to the order in which the mounts are made and put together. Pure: what `restore
// --print-plan` shows, and what tests compare.
//
// Each mount is made by itself first, away from all others: a new file system, a part of one that is there, or one that
// the caller gives. Contents are filled in meanwhile, while nothing covers anything. Then the mounts are attached,
// parents before children and among the children of one parent the deeper ones first, so that none covers the place of
// another that is still to come. Who receives mounts from whom is set last, when nothing is mounted any more.
#pragma once

#include "base/result.hh"
#include "criu/resource/namespace/mounts/externals.hh"
#include "mnt.pb.h"

#include <optional>
#include <string>
#include <vector>

namespace resource::mounts {

using base::Result;

/// How a mount comes into being.
enum class Origin {
    Root,      ///< the caller's root directory (--root)
    External,  ///< a path of the caller's
    New,       ///< a file system of its own
    Part,      ///< a part of another mount's file system
    Namespace, ///< a namespace of the root task, bound to a file
    Proc       ///< a proc file system, or a part of one, of a pid namespace that is not there yet
};

struct MountStep {
    size_t entry = 0; ///< index in the image's entries
    Origin origin{};
    /// External and Root: the caller's; New: the device, where it has one; Part: below the root of `whole`, "" for all
    /// of it; Namespace: its file below /proc; Proc: below its root.
    std::string path;
    size_t whole = 0;           ///< Part: index of the step whose mount it is taken from
    size_t parent = 0;          ///< index of the step of the mount that it is attached to; its own for a root
    std::string place;          ///< below the parent's root, "" for its root itself
    bool archived = false;      ///< its contents are in an archive
    bool made_in_place = false; ///< it is made when those before it in `attaching` are in their places: an overlay
                                ///< whose directories lie in the tree, a part of one
    uint32_t awaits = 0;        ///< number of the pid namespace that has to be there before it can be attached; 0: none
};

/// Membership of one mount in groups of propagation.
struct Propagation {
    size_t step = 0;
    std::optional<size_t> leader; ///< joins the group of this step's mount; absent: makes its own
    bool becomes_slave = false;   ///< receives only: after joining
    bool becomes_shared = false;  ///< (again) a group of its own, after that
    bool of_given = false;        ///< joins the group of the mount that the caller gives
};

struct MountPlan {
    std::vector<MountStep> steps;     ///< in the order of making; the root is the first
    std::vector<size_t> trees;        ///< indices of the steps that are roots, a namespace each; the root task's first
    std::vector<size_t> attaching;    ///< indices of steps, without the roots
    std::vector<size_t> later;        ///< ... of those that await something, in order
    std::vector<Propagation> sharing; ///< in order
};

/// The entries that a plan is made of: without those that are left out (--skip-mnt), and what lies on them.
std::vector<img::mnt_entry> without_skipped(std::vector<img::mnt_entry> entries, const Externals &externals);

/// `below`: where in `entries` the tables of further mount namespaces begin, those of tasks below the root.
/// Errors: BadImage for entries that are no tree or parts of nothing; Unsupported for an external mount that the caller
/// has given no path.
Result<MountPlan> plan_mounts(const std::vector<img::mnt_entry> &entries, const Externals &externals,
                              std::vector<size_t> below = {});

/// One line a step.
std::string print(const MountPlan &plan, const std::vector<img::mnt_entry> &entries);

} // namespace resource::mounts
