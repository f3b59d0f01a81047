// What iptables-save wrote, as CRIU's images have it, in the words of nftables: the old tables are on their way out of
// the kernel, and what filters packets is the same.
#pragma once

#include "base/result.hh"

#include <string>
#include <string_view>

namespace resource::net {

using base::Result;

enum class IpFamily : uint8_t { V4, V6 };

/// Commands for nft that make tables with the rules of `text`, without the lock of a dump. A table is called as the old
/// one ("filter"), or "legacy-filter" where `other_tables`, the text of a ruleset, has one of that name: two tables are
/// asked one after the other, as the old and the new ones were.
/// Errors: BadImage where it is no such text; Unsupported for a rule with a match or target that has no translation
/// here.
Result<std::string> iptables_to_nftables(std::string_view text, IpFamily family, std::string_view other_tables);

} // namespace resource::net
