// Which proc file systems of the tree's mounts show pid namespaces that only tasks below the root live in.
#pragma once

#include "criu/parse/mountinfo.hh"
#include "criu/resource/namespace/mounts/table.hh"
#include "criu/tree/namespaces.hh"

namespace resource::mounts {

/// `member`: lives in the mount namespace. A mount that others cover has no path: its file system is known if another
/// mount of it is not.
void find_proc_below(const tree::Namespaces &namespaces, base::Pid member, const std::vector<parse::Mount> &mounts,
                     ProcBelow &known);

/// Of all mount namespaces of the tree's own.
Result<ProcBelow> find_proc_below(const tree::Namespaces &namespaces);

} // namespace resource::mounts
