// The commands that an engine stands behind: request, engine, what is said of the outcome, exit code.
#pragma once

#include "base/log.hh"
#include "criu/cli/options.hh"
#include "criu/cli/program.hh"

namespace cli {

/// Exit code: 0, or the status of a post-dump script that failed.
base::Result<int> run_dump(const Engines &engines, const Options &options, base::Log &log);
/// Exit code: 0.
base::Result<int> run_pre_dump(const Engines &engines, const Options &options, base::Log &log);
base::Result<int> run_untrack(const Engines &engines, const Options &options);
base::Result<int> run_merge(const Engines &engines, const Options &options, base::Log &log);
/// Says on standard output what there is.
base::Result<int> run_verify(const Engines &engines, const Options &options);
base::Result<int> run_dedup(const Engines &engines, const Options &options, base::Log &log);
/// Exit code 0; without --restore-detached only when the tree has ended, with --exec-cmd not at all.
base::Result<int> run_cpuinfo(const Engines &engines, const Options &options, base::Log &log);
base::Result<int> run_restore(const Engines &engines, const Options &options, base::Log &log);
/// Exit code 0 when the sender said that it was all.
base::Result<int> run_page_server(const Engines &engines, const Options &options, base::Log &log);
/// Exit code 0 when all memory of the tree is there.
base::Result<int> run_lazy_pages(const Engines &engines, const Options &options, base::Log &log);
/// Exit code 0 when the tree runs on the other side.
base::Result<int> run_migrate(const Engines &engines, const Options &options, base::Log &log);
/// Exit code 0 when it runs here.
base::Result<int> run_receive(const Engines &engines, const Options &options, base::Log &log);
/// Also check --tree. Exit code 1 if something is missing, or would prevent a checkpoint.
base::Result<int> run_check(const Engines &engines, const Options &options, base::Log &log);

/// On standard output, as --display-stats wants it.
void show(const img::dump_stats_entry &stats);
void show(const img::restore_stats_entry &stats);
/// Goes on as another program; returns why that is not possible.
base::Error become(const std::vector<std::string> &command);

} // namespace cli
