// Processes that somebody outside has put into a pid namespace (`runc exec`, `nsenter`): their parents are outside, so
// that no walk from its init finds them; and they end with it.
#pragma once

#include "base/ids.hh"

#include <vector>

namespace kernel {

/// Those of the namespace whose init this is; none if `init` is no init of a namespace other than ours.
std::vector<base::Pid> put_in(base::Pid init);

} // namespace kernel
