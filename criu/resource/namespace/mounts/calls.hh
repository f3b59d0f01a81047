// The calls of the new mount interface, one function each: what the builder makes its mounts of.
#pragma once

#include "base/result.hh"
#include "base/unique_fd.hh"
#include "mnt.pb.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <sys/mount.h>

namespace resource::mounts::calls {

using base::Result;
using base::UniqueFd;
using Entry = img::mnt_entry;

/// A mounted file system of its own, attached nowhere. `flags`: what it is born with of those of a super block.
/// `device`: what it is on; empty: the image's source, which is a name only.
Result<UniqueFd> make_file_system(const Entry &entry, uint32_t flags, const std::string &device = {});
Result<void> make_read_only(int mounted);
/// A copy of the mount of `path` or of a directory below it, attached nowhere, without what is mounted below.
Result<UniqueFd> clone(int directory, const std::string &path);
Result<void> attach(int mounted, int directory, const std::string &path);
mount_attr attributes_of(const Entry &entry);
/// `flags`: AT_RECURSIVE for all below as well.
Result<void> change(int mounted, mount_attr attributes, int flags = 0);
Result<void> set_propagation(int mounted, uint64_t type, int flags = 0);
/// Has the devpts at `mounted` make the terminal of this number: it hands out the lowest that is free.
Result<UniqueFd> open_terminal(int mounted, uint32_t number);
std::optional<uint32_t> terminal_number(const Entry &entry, std::string_view path);

} // namespace resource::mounts::calls
