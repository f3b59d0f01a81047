// May this process checkpoint anything at all?
#pragma once

#include "base/result.hh"
#include "criu/cli/options.hh"

namespace cli {

/// What the gate looks at.
struct Privileges {
    unsigned uid = 0;
    bool sys_admin = false;          ///< effective CAP_SYS_ADMIN
    bool checkpoint_restore = false; ///< effective CAP_CHECKPOINT_RESTORE
};
base::Result<Privileges> own_privileges();

/// Errors: Usage with the text CRIU's users know, and what to do.
base::Result<void> check_privileges(const Privileges &, const Options &);

} // namespace cli
