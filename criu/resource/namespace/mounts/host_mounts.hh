// Where a mount of the tree comes from: the caller's own mount that shows the same (`mnt[]`). Pure.
#pragma once

#include "criu/parse/mountinfo.hh"
#include "criu/resource/namespace/mounts/externals.hh"

#include <optional>
#include <span>

namespace resource::mounts {

/// `path` as seen from `base`, both absolute: "" for base itself. Nothing if it does not lie below.
std::optional<std::string> below(std::string_view base, std::string_view path);

/// The mount that a path leads to, of all mounts of one namespace; null where none is the root.
const parse::Mount *mount_at(std::span<const parse::Mount> all, std::string_view path);

struct HostSource {
    std::string path;        ///< of the caller's mounts
    bool same_group = false; ///< both send mounts to each other
};
/// A path of the caller's that shows what the mount does. Nothing where there is none, or where it has to do with the
/// outside in a way that is not allowed (Externals::masters, sharing).
std::optional<HostSource> find_source(const parse::Mount &mount, std::span<const parse::Mount> host,
                                      const Externals &externals);

/// The mounts of a namespace beside the caller's, without copies of those of the caller's that others hide there as
/// well: nobody could copy them again. What hides them takes their place. `left_out` gets their mount points.
std::vector<parse::Mount> without_hidden(std::vector<parse::Mount> mounts, std::span<const parse::Mount> host,
                                         std::vector<std::string> &left_out);

} // namespace resource::mounts
