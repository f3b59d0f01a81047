// Namespaces that the caller brings for the root task: one that it had from outside at the dump (--external
// net[INODE]:KEY,
// --external pid[INODE]:KEY), as a descriptor (--inherit-fd fd[N]:KEY), or one that it is to live in instead of its own
// (--join-ns). Nothing of the images goes into them.
#pragma once

#include "base/result.hh"
#include "base/unique_fd.hh"
#include "criu/engine/request.hh"
#include "criu/plan/checkpoint.hh"
#include "criu/tree/namespaces.hh"

#include <map>
#include <set>

namespace restore {

using base::Result;

struct GivenNamespaces {
    std::map<tree::NamespaceKind, base::UniqueFd> of_root;
    std::map<uint32_t, base::UniqueFd> below; ///< of tasks below it, by the image's number: networks
    std::set<std::string> keys;               ///< of --inherit-fd

    bool has(tree::NamespaceKind kind) const { return of_root.contains(kind); }

    /// Errors: Usage where a descriptor or file is missing, or is no such namespace.
    static Result<GivenNamespaces> find(const plan::Checkpoint &checkpoint, const engine::RestoreRequest &request);
    /// In the root task, while it is alone: goes there, but for pid namespaces, where it has to be born. User
    /// namespaces are the last, and their ids those that were asked for.
    Result<void> enter(const resource::NamespaceOptions &options) const;
};

} // namespace restore
