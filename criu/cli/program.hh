// The way from argv to an exit code. What a command does is passed in by main(), so that this folder needs to know
// the engines' names only there.
#pragma once

#include "base/log.hh"
#include "base/result.hh"
#include "criu/cli/options.hh"
#include "criu/engine/check/tree.hh"
#include "criu/engine/notifier.hh"
#include "criu/engine/outcome.hh"
#include "criu/engine/request.hh"

#include <span>
#include <string>

namespace cli {

/// What stands behind the commands; a null pointer refuses the command as not built in.
struct Engines {
    base::Result<engine::DumpOutcome> (*dump)(const engine::DumpRequest &, engine::Notifier &, base::Log &) = nullptr;
    base::Result<engine::DumpOutcome> (*pre_dump)(const engine::PreDumpRequest &, engine::Notifier &,
                                                  base::Log &) = nullptr;
    base::Result<void> (*untrack)(base::Pid root) = nullptr;
    base::Result<void> (*merge)(const engine::MergeRequest &, base::Log &) = nullptr;
    base::Result<std::string> (*verify)(int images_dir_fd, bool shell_job) = nullptr; ///< returns what there is
    base::Result<uint64_t> (*dedup)(int images_dir_fd) = nullptr; ///< returns the number of pages dropped
    base::Result<void> (*dump_processor)(int images_dir_fd) = nullptr;
    base::Result<void> (*check_processor)(int images_dir_fd, resource::ProcessorCare care) = nullptr;
    base::Result<engine::RestoreOutcome> (*restore)(const engine::RestoreRequest &, engine::Notifier &,
                                                    base::Log &) = nullptr;
    /// check --tree PID
    base::Result<engine::CheckOutcome> (*check_tree)(const engine::DumpRequest &, check::TreeFormat) = nullptr;
    /// swrk: what is not a result of a request is an exit code.
    int (*work)(const Options &) = nullptr;
    base::Result<void> (*page_server)(const engine::PageServerRequest &, engine::Notifier &, base::Log &) = nullptr;
    base::Result<void> (*lazy_pages)(const engine::LazyPagesRequest &, engine::Notifier &, base::Log &) = nullptr;
    base::Result<void> (*migrate)(const engine::MigrateRequest &, engine::Notifier &, base::Log &) = nullptr;
    base::Result<void> (*resume_here)(base::Pid root) = nullptr;
    base::Result<void> (*receive)(const engine::ReceiveRequest &, engine::Notifier &, base::Log &) = nullptr;
    base::Result<int> (*serve)(const Options &, base::Log &) = nullptr;
    /// Arguments without the program's name.
    int (*crit)(std::span<const std::string> args) = nullptr;
};

/// Runs the program. A program called `crit` is `criu crit`.
int program(int argc, char **argv, const Engines &engines);

} // namespace cli
