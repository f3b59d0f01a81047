// One mount namespace as a table: from what the kernel prints to the entries of the image. Pure.
#pragma once

#include "base/result.hh"
#include "criu/parse/mountinfo.hh"
#include "criu/resource/namespace/mounts/externals.hh"
#include "criu/tree/namespaces.hh"
#include "mnt.pb.h"

#include <map>
#include <span>
#include <vector>

namespace resource::mounts {

using base::Result;

/// mnt_entry.flags and sb_flags: the bits of mount(2).
enum Flag : uint32_t {
    kReadOnly = 1,
    kNoSuid = 2,
    kNoDev = 4,
    kNoExec = 8,
    kSynchronous = 0x10,
    kDirSync = 0x80,
    kNoAtime = 0x400,
    kNoDirAtime = 0x800,
    kUnbindable = 0x20000,
    kSlave = 0x80000,
    kShared = 0x100000,
    kRelAtime = 0x200000,
    kStrictAtime = 0x1000000,
};

/// Proc file systems of pid namespaces that only tasks below the root live in: device (as in images) -> number of that.
using ProcBelow = std::map<uint32_t, uint32_t>;

/// Entries in the order of CRIU's images: the last mount first. `host`: the caller's mounts, for Externals::automatic.
/// Errors: Unsupported for a mount that is neither of a file system that can be made again, nor a part of one that is
/// mounted as a whole, nor external, nor a namespace of the tree's root; each with what would help.
Result<std::vector<img::mnt_entry>> describe(const std::vector<parse::Mount> &mounts,
                                             const std::vector<parse::Mount> &host, const tree::Namespaces &namespaces,
                                             const Externals &externals);

/// The tables of several mount namespaces of one tree, the root task's first: what a mount shows may be mounted as a
/// whole in another one. Keys are given in the first only.
Result<std::vector<std::vector<img::mnt_entry>>> describe(std::span<const std::vector<parse::Mount>> tables,
                                                          const std::vector<parse::Mount> &host,
                                                          const tree::Namespaces &namespaces,
                                                          const Externals &externals, const ProcBelow &proc = {});

/// Mounts that receive from a group outside of the tree and will not any more: of no image and not the caller's.
std::vector<std::string> lost_masters(const std::vector<std::vector<img::mnt_entry>> &tables);

} // namespace resource::mounts
