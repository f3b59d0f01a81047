// Rulesets as text: what images of packet filters hold.
#pragma once

#include "base/result.hh"

#include <string>
#include <string_view>

namespace resource::net {

using base::Result;

/// The text of `nft list ruleset` without what a dump had put there to hold packets back: CRIU's own tables, and the
/// chain CRIU of iptables-nft with the jumps to it.
/// Errors: BadImage where it holds anything but tables (a command, or an `include` of a file of this machine).
Result<std::string> ruleset_without_locks(std::string_view text);

/// Whether nothing remains of what iptables-save wrote but the lock of a dump and chains that accept all.
bool is_without_rules(std::string_view iptables_text);

} // namespace resource::net
