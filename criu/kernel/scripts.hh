// Action scripts: programs of the user's that run at fixed points (--action-script).
#pragma once

#include "base/ids.hh"
#include "base/result.hh"

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace kernel {

/// Runs all scripts at a hook, the last declared first, each even if another failed. They are executed directly,
/// without arguments; CRTOOLS_SCRIPT_ACTION, CRTOOLS_IMAGE_DIR (a path through /proc) and, once there is a root task,
/// CRTOOLS_INIT_PID are in their environment.
class Scripts {
public:
    Scripts(std::vector<std::string> paths, int images_dir_fd)
        : paths_(std::move(paths)), images_dir_fd_(images_dir_fd) {}

    bool is_empty() const { return paths_.empty(); }
    /// Errors: System if a script cannot be run; a script that fails is an error that names hook, script and status.
    base::Result<void> run(const char *hook, std::optional<base::Pid> root) const;
    /// As run(), but a failing script is no error: its status is returned, 0 if all went well.
    base::Result<int> run_for_status(const char *hook, std::optional<base::Pid> root) const;

private:
    std::vector<std::string> paths_;
    int images_dir_fd_;
};

} // namespace kernel
