// State that is written through /proc/self: OOM adjustment, login uid, core dump filter, autogroup.
#pragma once

#include "criu/plan/checkpoint.hh"

namespace restore {

using base::Result;

/// Errors: System where the kernel refuses what cannot be done without (OOM adjustment). Optional files are skipped.
Result<void> restore_proc_files(const plan::TaskImage &task);

} // namespace restore
