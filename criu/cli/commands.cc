#include "criu/cli/commands.hh"

#include "base/guarded.hh"
#include "base/unique_fd.hh"
#include "criu/cli/foreground.hh"
#include "criu/cli/progress.hh"
#include "criu/cli/requests.hh"
#include "criu/cli/streams.hh"
#include "criu/engine/check/check.hh"
#include "criu/engine/notifier.hh"
#include "criu/engine/outcome.hh"
#include "criu/kernel/child.hh"
#include "criu/kernel/interruption.hh"

#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <unistd.h>

namespace cli {
namespace {

std::unexpected<base::Error> not_built(std::string_view name) {
    return base::unsupported(fmt::format("the command {} is not built into this program", name));
}

/// Whoever reads may stop reading: that is no error (fmt::print would throw).
void say(std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
}

/// Runs a command whose progress is shown, if it is.
template <class Body> auto watched(const Options &options, engine::Progress *&progress, Body &&body) {
    const ProgressDisplay display(options);
    progress = display.watched();
    return body();
}

/// Starts what brings memory to the tree that is about to be restored. It gives up when the descriptor returned is
/// closed before the restore has connected. Errors: it cannot be had; the log says why.
base::Result<base::UniqueFd> start_lazy_daemon(const Engines &engines, const Options &options, base::Log &log) {
    if (!engines.lazy_pages)
        return not_built("restore --instant");
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return base::fail_sys("pipe");
    base::UniqueFd theirs(ends[0]), ours(ends[1]);
    const pid_t starter = fork();
    if (starter < 0)
        return base::fail_sys("fork");
    if (starter == 0) {
        ours.reset();
        engine::LazyPagesRequest request = lazy_pages_request(options);
        request.daemon = true;
        request.pidfile.clear();
        request.status_fd.reset();
        request.caller = theirs.get();
        engine::ScriptNotifier notifier(kernel::Scripts({}, options.images_dir_fd)); // nobody is told
        // Comes back twice: when somebody can connect, and in the background when all memory is there.
        const auto done = base::guarded([&] { return engines.lazy_pages(request, notifier, log); });
        if (!done)
            log.error(done.error().message());
        _exit(done ? 0 : 1);
    }
    if (TRY(kernel::exit_code(starter)) != 0)
        return base::fail(base::ErrorKind::System, "restore --instant: nobody can bring the memory: see above");
    return ours;
}

} // namespace

void show(const img::dump_stats_entry &stats) {
    say(fmt::format("Displaying dump stats:\n"
                    "Freezing time: {} us\nFrozen time: {} us\nMemory dump time: {} us\nMemory write time: {} us\n"
                    "Memory pages scanned: {}\nMemory pages skipped from parent: {}\nMemory pages written: {}\n"
                    "Lazy memory pages: {}\n",
                    stats.freezing_time(), stats.frozen_time(), stats.memdump_time(), stats.memwrite_time(),
                    stats.pages_scanned(), stats.pages_skipped_parent(), stats.pages_written(), stats.pages_lazy()));
}

void show(const img::restore_stats_entry &stats) {
    say(fmt::format("Displaying restore stats:\nPages compared: {}\nPages skipped COW: {}\nPages restored: {}\n"
                    "Restore time: {} us\nForking time: {} us\n",
                    stats.pages_compared(), stats.pages_skipped_cow(), stats.pages_restored(), stats.restore_time(),
                    stats.forking_time()));
}

base::Error become(const std::vector<std::string> &command) {
    std::vector<char *> argv;
    for (const std::string &arg : command)
        argv.push_back(const_cast<char *>(arg.c_str()));
    argv.push_back(nullptr);
    execvp(argv[0], argv.data());
    return base::Error::sys(fmt::format("run {}", argv[0]));
}

base::Result<int> run_dump(const Engines &engines, const Options &options, base::Log &log) {
    if (!engines.dump)
        return not_built("dump");
    engine::ScriptNotifier first(kernel::Scripts(options.action_scripts, options.images_dir_fd));
    Folder folder = TRY_CTX(folder_to_write(options, first), "dump");
    engine::DumpRequest request = dump_request(options);
    request.images_dir_fd = folder.fd(options);
    request.stream = folder.stream;
    engine::ScriptNotifier notifier(kernel::Scripts(options.action_scripts, request.images_dir_fd));
    const auto outcome = TRY(watched(options, request.progress, [&] { return engines.dump(request, notifier, log); }));
    if (outcome.script_status == 0 && options.display_stats)
        show(outcome.statistics);
    return outcome.script_status;
}

base::Result<int> run_pre_dump(const Engines &engines, const Options &options, base::Log &log) {
    if (!engines.pre_dump)
        return not_built("pre-dump");
    engine::ScriptNotifier first(kernel::Scripts(options.action_scripts, options.images_dir_fd));
    Folder folder = TRY_CTX(folder_to_write(options, first), "pre-dump");
    engine::PreDumpRequest request = pre_dump_request(options);
    request.dump.images_dir_fd = folder.fd(options);
    request.dump.stream = folder.stream;
    engine::ScriptNotifier notifier(kernel::Scripts(options.action_scripts, request.dump.images_dir_fd));
    const auto outcome =
        TRY(watched(options, request.dump.progress, [&] { return engines.pre_dump(request, notifier, log); }));
    if (options.display_stats)
        show(outcome.statistics);
    return 0;
}

base::Result<int> run_untrack(const Engines &engines, const Options &options) {
    if (!engines.untrack)
        return not_built("untrack");
    TRY(engines.untrack(base::Pid(options.tree)));
    return 0;
}

base::Result<int> run_merge(const Engines &engines, const Options &options, base::Log &log) {
    if (!engines.merge)
        return not_built("merge");
    Options found = options;
    const Folder folder = TRY_CTX(folder_to_read(options), "merge");
    found.images_dir_fd = folder.fd(options);
    if (folder.directory) // relative to a stream is nowhere
        found.into = std::filesystem::absolute(options.into);
    TRY(engines.merge(merge_request(found), log));
    return 0;
}

base::Result<int> run_verify(const Engines &engines, const Options &options) {
    if (!engines.verify)
        return not_built("verify");
    const Folder folder = TRY_CTX(folder_to_read(options), "verify");
    say(TRY(engines.verify(folder.fd(options), options.shell_job)));
    return 0;
}

base::Result<int> run_dedup(const Engines &engines, const Options &options, base::Log &log) {
    if (!engines.dedup)
        return not_built("dedup");
    log.info(fmt::format("dedup: {} pages dropped", TRY(engines.dedup(options.images_dir_fd))));
    return 0;
}

base::Result<int> run_cpuinfo(const Engines &engines, const Options &options, base::Log &log) {
    if (!engines.dump_processor || !engines.check_processor)
        return not_built("cpuinfo");
    if (options.command == Command::CpuinfoDump) {
        TRY_CTX(engines.dump_processor(options.images_dir_fd), "cpuinfo dump");
        return 0;
    }
    TRY_CTX(engines.check_processor(options.images_dir_fd, processor_care(options)), "cpuinfo check");
    log.info("cpuinfo check: this processor does");
    return 0;
}

base::Result<int> run_restore(const Engines &engines, const Options &given, base::Log &log) {
    if (!engines.restore)
        return not_built("restore");
    engine::ScriptNotifier first(kernel::Scripts(given.action_scripts, given.images_dir_fd));
    Folder folder = TRY_CTX(folder_to_read(given, &first), "restore");
    Options options = given;
    options.images_dir_fd = folder.fd(given);
    const bool waits = !options.restore_detached && !options.exec_cmd;
    JobTerminal notifier(kernel::Scripts(options.action_scripts, options.images_dir_fd), options.shell_job && waits);
    base::UniqueFd daemon; // ends it if we do not come as far as to need it
    if (options.instant && !options.print_plan)
        daemon = TRY(start_lazy_daemon(engines, options, log));
    HeldSignals signals;
    engine::RestoreRequest request = restore_request(options);
    request.supplier = folder.supplier;
    const auto outcome =
        TRY(watched(options, request.progress, [&] { return engines.restore(request, notifier, log); }));
    request.supplier.reset(), folder = {}; // a stream was in memory: the tree has it now
    daemon.reset();
    say(outcome.plan);
    if (options.print_plan)
        return 0;
    if (options.display_stats)
        show(outcome.statistics);
    if (waits)
        return wait_for_tree(outcome, signals, notifier, options, log);
    kernel::take_interruptions(); // while the last scripts ran: the tree runs, and that is success
    signals.release();
    if (options.exec_cmd)
        return base::fail(become(options.exec_argv));
    return 0;
}

base::Result<int> run_page_server(const Engines &engines, const Options &options, base::Log &log) {
    if (!engines.page_server)
        return not_built("page-server");
    engine::ScriptNotifier notifier(kernel::Scripts(options.action_scripts, options.images_dir_fd));
    TRY(engines.page_server(page_server_request(options), notifier, log));
    return 0;
}

base::Result<int> run_lazy_pages(const Engines &engines, const Options &options, base::Log &log) {
    if (!engines.lazy_pages)
        return not_built("lazy-pages");
    engine::ScriptNotifier notifier(kernel::Scripts(options.action_scripts, options.images_dir_fd));
    TRY(engines.lazy_pages(lazy_pages_request(options), notifier, log));
    return 0;
}

base::Result<int> run_migrate(const Engines &engines, const Options &options, base::Log &log) {
    if (!engines.migrate || !engines.resume_here)
        return not_built("migrate");
    if (options.resume_here) {
        TRY(engines.resume_here(base::Pid(options.tree)));
        return 0;
    }
    engine::ScriptNotifier notifier(kernel::Scripts(options.action_scripts, options.images_dir_fd));
    engine::MigrateRequest request = migrate_request(options);
    TRY(watched(options, request.dump.progress, [&] { return engines.migrate(request, notifier, log); }));
    return 0;
}

base::Result<int> run_receive(const Engines &engines, const Options &options, base::Log &log) {
    if (!engines.receive)
        return not_built("receive");
    engine::ScriptNotifier notifier(kernel::Scripts(options.action_scripts, options.images_dir_fd));
    HeldSignals signals;
    engine::ReceiveRequest request = receive_request(options);
    if (options.instant)
        request.start_daemon = [&](int images_dir_fd) {
            Options of_daemon = options;
            of_daemon.images_dir_fd = images_dir_fd;
            return start_lazy_daemon(engines, of_daemon, log);
        };
    TRY(engines.receive(request, notifier, log));
    signals.release();
    return 0;
}

base::Result<int> run_check(const Engines &engines, const Options &options, base::Log &log) {
    if (options.tree && !engines.check_tree)
        return not_built("check --tree");
    const auto format = options.json ? check::TreeFormat::Json : check::TreeFormat::Text;
    const engine::CheckOutcome outcome =
        options.tree ? TRY(engines.check_tree(dump_request(options), format)) : check::run(check_request(options), log);
    say(outcome.text);
    return outcome.complete ? 0 : 1;
}

} // namespace cli
