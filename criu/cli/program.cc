// Order of work, as CRIU's: options, privileges, the folder of images, the change to the work folder, the log, the
// command. Until the log is open, errors go to standard error.

#include "criu/cli/program.hh"

#include "base/guarded.hh"
#include "base/printable.hh"
#include "criu/cli/commands.hh"
#include "criu/cli/help.hh"
#include "criu/cli/invocation.hh"
#include "criu/cli/privilege.hh"
#include "criu/cli/supported.hh"
#include "criu/cli/version.hh"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <unistd.h>

namespace cli {

namespace {

constexpr int kFailure = 1, kRemoved = 255;

void print(FILE *to, std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), to);
}

std::string error_text(const base::Error &error) {
    std::string out = fmt::format("Error: {}\n", base::printable(error.message()));
    if (!error.hint().empty())
        out += fmt::format("Hint:  {}\n", base::printable(error.hint()));
    return out;
}

struct Folders {
    base::UniqueFd images; ///< open while the command runs
};

/// Where commands take streams, a file stays a file, and - nothing yet.
base::Result<Folders> open_images(Options &options) {
    const Command command = options.command;
    const bool reads = command == Command::Restore || command == Command::Verify || command == Command::Merge;
    const bool writes = command == Command::Dump || command == Command::PreDump;
    if (options.images_dir == "-" && (reads || writes))
        return Folders{};
    base::UniqueFd images(::open(options.images_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!images && errno == ENOTDIR && (reads || writes)) {
        images.reset(::open(options.images_dir.c_str(), O_RDONLY | O_CLOEXEC));
        if (images) {
            options.images_file = std::make_shared<base::UniqueFd>(std::move(images));
            return Folders{};
        }
    }
    if (!images)
        return base::fail_sys(fmt::format("can't open the images folder {}", options.images_dir));
    return Folders{std::move(images)};
}

/// Opens the folder of images and makes the work folder current.
base::Result<Folders> enter_folders(Options &options) {
    if (options.close_fd && ::close(*options.close_fd) != 0)
        return base::fail_sys(fmt::format("--close {}", *options.close_fd));
    if (!options.key_file.empty())
        options.key_file = std::filesystem::absolute(options.key_file); // as seen from where the command was typed
    Folders out = TRY(open_images(options));
    options.images_dir_fd = out.images.get();
    if (!options.plugin_dir.empty())
        options.plugin_dir = std::filesystem::absolute(options.plugin_dir); // as seen from where the command was typed
    if (options.work_dir.empty() && !out.images)                            // a stream is no place for a log
        return out;
    int moved = options.work_dir.empty() ? ::fchdir(out.images.get()) : ::chdir(options.work_dir.c_str());
    if (moved != 0)
        return base::fail_sys(fmt::format("can't change to the work folder {}",
                                          options.work_dir.empty() ? options.images_dir : options.work_dir));
    return out;
}

base::Result<base::Log> open_log(const Options &options) {
    auto level = static_cast<base::LogLevel>(std::min(options.verbosity, static_cast<int>(base::LogLevel::Debug)));
    int fd = -1;
    if (options.log_file.empty())
        fd = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    else if (options.log_file == "-")
        fd = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    else
        fd = ::open(options.log_file.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    // A caller may have closed standard error; a run that cannot complain there is still a run.
    if (fd < 0 && !options.log_file.empty())
        return base::fail_sys(fmt::format("can't create the log file {}", options.log_file));
    return base::Log(base::UniqueFd(fd), level);
}

base::Result<int> run_command(const Options &options, const Engines &engines, base::Log &log) {
    switch (options.command) {
    case Command::Dump:
        return run_dump(engines, options, log);
    case Command::PreDump:
        return run_pre_dump(engines, options, log);
    case Command::Dedup:
        return run_dedup(engines, options, log);
    case Command::Merge:
        return run_merge(engines, options, log);
    case Command::Verify:
        return run_verify(engines, options);
    case Command::CpuinfoDump:
    case Command::CpuinfoCheck:
        return run_cpuinfo(engines, options, log);
    case Command::Untrack:
        return run_untrack(engines, options);
    case Command::Restore:
        return run_restore(engines, options, log);
    case Command::Check:
        return run_check(engines, options, log);
    case Command::Service:
        if (engines.serve)
            return engines.serve(options, log);
        break;
    case Command::PageServer:
        return run_page_server(engines, options, log);
    case Command::LazyPages:
        return run_lazy_pages(engines, options, log);
    case Command::Migrate:
        return run_migrate(engines, options, log);
    case Command::Receive:
        return run_receive(engines, options, log);
    case Command::Swrk:
    case Command::Crit:
    case Command::None:
        break;
    }
    return base::fail(base::ErrorKind::Bug, "no command to run");
}

/// An error of the command: to the log, and to standard error too where that is somewhere else.
int report(const base::Error &error, const Options &options, base::Log &log) {
    log.error(base::printable(error.message()));
    if (!error.hint().empty())
        log.hint(base::printable(error.hint()));
    if (!options.log_file.empty())
        print(stderr, error_text(error));
    return kFailure;
}

int run(Invocation &invocation, const Engines &engines) {
    Options &options = invocation.options;
    auto own = own_privileges();
    if (!own) {
        print(stderr, error_text(own.error()));
        return kFailure;
    }
    if (auto allowed = check_privileges(*own, options); !allowed) {
        print(stdout, error_text(allowed.error())); // CRIU tells this on standard output
        return kFailure;
    }
    auto folders = enter_folders(options);
    if (!folders) {
        print(stderr, error_text(folders.error()));
        return kFailure;
    }
    auto log = open_log(options);
    if (!log) {
        print(stderr, error_text(log.error()));
        return kFailure;
    }
    for (const std::string &warning : invocation.warnings)
        log->warn(warning);
    log->info(fmt::format("Version: {} (pid {})", kVersion, getpid()));
    auto code = base::guarded([&] { return run_command(options, engines, *log); });
    return code ? *code : report(code.error(), options, *log);
}

/// Texts made from the tables, for the build: kept out of the option table because they are no interface.
bool print_generated(std::span<const std::string> args) {
    if (args.size() != 1)
        return false;
    if (args[0] == "--man-page")
        print(stdout, man_page());
    else if (args[0] == "--bash-completion")
        print(stdout, bash_completion());
    else if (args[0] == "--supported-kinds")
        print(stdout, supported_kinds());
    else
        return false;
    return true;
}

int run_crit(const Engines &engines, std::span<const std::string> args) {
    if (engines.crit)
        return engines.crit(args);
    print(stderr, "Error: crit is not built into this program\n");
    return kFailure;
}

bool called_crit(std::string_view name) {
    return name.substr(name.rfind('/') + 1) == "crit";
}

} // namespace

int program(int argc, char **argv, const Engines &engines) {
    std::signal(SIGPIPE, SIG_IGN); // a reader that goes away is an error of write, not the end of us
    std::signal(SIGXFSZ, SIG_IGN); // so is a file that may not become larger (ulimit -f)
    std::vector<std::string> args(argv + std::min(argc, 1), argv + argc);
    if (argc > 0 && called_crit(argv[0]))
        return run_crit(engines, args);
    if (print_generated(args))
        return 0;
    auto invocation = load_invocation(args, read_environment());
    if (!invocation) {
        print(stderr, error_text(invocation.error()));
        return kFailure;
    }
    switch (invocation->action) {
    case Action::Help:
        print(stdout, invocation->help_for.empty() ? full_help() : help_of(invocation->help_for));
        return 0;
    case Action::Version:
        print(stdout, fmt::format("Version: {}\n", kVersion));
        return 0;
    case Action::Removed:
        print(stderr, fmt::format("Error: {}\n", invocation->message));
        return kRemoved;
    case Action::Run:
        break;
    }
    if (invocation->options.command == Command::Crit)
        return run_crit(engines, invocation->options.crit_args);
    // Folders, log and privileges are the request's there.
    if (invocation->options.command == Command::Swrk && engines.work)
        return engines.work(invocation->options);
    return run(*invocation, engines);
}

} // namespace cli
