// Multicast groups that a socket has joined. The kernel tells them for one group at a time (MCAST_MSFILTER): the groups
// of all interfaces of the namespace are the questions.
#pragma once

#include "base/ids.hh"
#include "base/result.hh"
#include "criu/parse/igmp.hh"
#include "images_pb.hh"

#include <vector>

namespace resource {

using base::Result;

/// What some socket of the namespace may have joined.
struct JoinedGroups {
    std::vector<parse::MulticastGroup> v4, v6;
};
Result<JoinedGroups> joined_groups(base::Pid task);

Result<void> dump_memberships(int fd, int family, const JoinedGroups &groups, img::inet_sk_entry *entry);
Result<void> restore_memberships(int fd, const img::inet_sk_entry &entry);

} // namespace resource
