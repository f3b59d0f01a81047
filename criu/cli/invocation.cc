#include "criu/cli/invocation.hh"

#include "criu/cli/config.hh"
#include "criu/cli/help.hh"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fmt/format.h>

namespace cli {

namespace {

std::unexpected<base::Error> usage(std::string text) {
    return base::fail(std::move(base::Error(base::ErrorKind::Usage, std::move(text)).hint(short_usage())));
}

std::string_view name_of(Command command) {
    return std::ranges::find(command_table(), command, &CommandRow::command)->name;
}

bool has(const Arguments &args, std::string_view name) {
    for (const Occurrence &o : args.options)
        if (o.row->name == name)
            return true;
    return false;
}

ConfigSources config_sources(const Arguments &args, const Environment &environment) {
    ConfigSources out{environment.home, environment.config_file, {}, !has(args, kNoDefaultConfigOption)};
    for (const Occurrence &o : args.options)
        if (o.row->name == kConfigOption)
            out.explicit_file = o.value.value_or("");
    return out;
}

Result<void> check_compression(const Options &o) {
    if (o.page_server && o.compression.codec != image::Codec::Lz4)
        return usage("--compress with --page-server: the connection knows lz4 only");
    if (o.auto_dedup)
        return usage("--compress and --auto-dedup exclude each other: compressed pages cannot be dropped one by one");
    if (o.image_layout == ImageLayout::Split)
        return usage("--compress and --image-layout split exclude each other: who reads that layout cannot unpack");
    return {};
}

Result<void> check_migration(const Options &o) {
    if (o.to_given == o.resume_here)
        return usage(
            "migrate wants to know where to: --to HOST:PORT (or --resume-here, once nobody knows where the tree "
            "runs)");
    if (!o.prev_images_dir.empty() || o.page_server || o.lazy_pages || o.leave_running || o.leave_stopped || o.stream)
        return usage("migrate makes its own increments and sends them itself: no --prev-images-dir, --page-server, "
                     "--lazy-pages, --leave-running, --leave-stopped or --stream");
    return {};
}

/// Rules between options, and between options and the command.
Result<void> cross_check(const Options &o, std::vector<std::string> &warnings) {
    bool restore = o.command == Command::Restore;
    const bool needs_tree = o.command == Command::Dump || o.command == Command::PreDump ||
                            o.command == Command::Untrack || o.command == Command::Migrate;
    if (needs_tree && o.tree == 0)
        return usage(fmt::format("no process tree given; {} needs -t PID", name_of(o.command)));
    if (restore && o.tree != 0)
        warnings.emplace_back("Using -t with restore is obsoleted");
    if (!o.inherit_fds.empty() && !restore)
        return usage("--inherit-fd is for restore only");
    if (restore && o.restore_sibling && !o.restore_detached)
        return usage("--restore-sibling makes sense only with --restore-detached (-d)");
    if (restore && o.exec_cmd && o.restore_detached)
        return usage("--exec-cmd and --restore-detached exclude each other");
    if (o.exec_cmd && o.exec_argv.empty())
        return usage("--exec-cmd needs a command: criu restore --exec-cmd -- COMMAND ARGUMENTS");
    if (o.command == Command::PageServer && o.auto_dedup)
        return base::unsupported("--auto-dedup of a page server is not supported yet; criu dedup does the same later");
    const bool dumps = o.command == Command::Dump || o.command == Command::PreDump;
    using engine::SnapshotMethod;
    if (o.command == Command::Dump && (o.snapshot == SnapshotMethod::Fork || o.snapshot == SnapshotMethod::Precopy) &&
        !o.leave_running)
        return usage(fmt::format("--snapshot {} is for trees that are left running (-R)",
                                 o.snapshot == SnapshotMethod::Fork ? "fork" : "precopy"));
    if (dumps && o.compression.is_on())
        TRY(check_compression(o));
    if (restore && o.instant && (o.lazy_pages || o.auto_dedup))
        return usage(
            fmt::format("--instant and {} exclude each other", o.lazy_pages ? "--lazy-pages" : "--auto-dedup"));
    if (o.command == Command::Merge && o.into.empty())
        return usage("merge needs a directory for the new images: --into DIR");
    if (o.command == Command::PreDump && o.lazy_pages)
        return usage("a pre-dump cannot leave memory to a page server: --lazy-pages is for the dump");
    if (o.ps_socket && (o.port || (!o.address.empty() && o.command != Command::Service)))
        warnings.emplace_back("--address and --port do not count with --ps-socket");
    if (o.ps_socket && o.daemon && *o.ps_socket <= 2)
        return usage("--daemon closes the standard descriptors, of which --ps-socket is one");
    if (o.command == Command::Migrate)
        TRY(check_migration(o));
    if (o.json && o.tree == 0)
        return usage("--json goes with check --tree PID");
    return {};
}

/// `criu help dump` and `criu dump --help` show the same.
bool wants_help(const Arguments &args) {
    return has(args, kHelpOption) || (!args.positional.empty() && args.positional.front() == "help");
}

std::string command_in(const Arguments &args) {
    for (const std::string &word : args.positional)
        if (find_command(word))
            return word;
    return {};
}

/// `criu dump 1234`
bool is_number(std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

/// The one argument of swrk.
Result<void> take_descriptor(Options &o, std::span<const std::string> rest) {
    const std::string text = rest.size() == 1 ? rest.front() : std::string();
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), o.swrk_fd);
    if (text.empty() || error != std::errc() || end != text.data() + text.size() || o.swrk_fd < 0)
        return base::fail(base::ErrorKind::Usage, "Usage: criu swrk <fd>");
    return {};
}

/// The one argument of cpuinfo.
Result<void> take_cpuinfo_action(Options &o, std::span<const std::string> rest) {
    const std::string action = rest.size() == 1 ? rest.front() : std::string();
    if (action != "dump" && action != "check")
        return base::fail(base::Error(base::ErrorKind::Usage, "cpuinfo wants to know what to do")
                              .hint("criu cpuinfo dump -D DIR, or criu cpuinfo check -D DIR"));
    o.command = action == "dump" ? Command::CpuinfoDump : Command::CpuinfoCheck;
    return {};
}

Result<void> take_positional(Invocation &out, std::span<const std::string> rest) {
    Options &o = out.options;
    if (o.command == Command::Restore && o.exec_cmd)
        o.exec_argv.assign(rest.begin(), rest.end());
    else if (o.command == Command::Swrk)
        return take_descriptor(o, rest);
    else if (o.command == Command::Verify && rest.size() == 1)
        o.images_dir = rest.front();
    else if (o.command == Command::CpuinfoDump)
        return take_cpuinfo_action(o, rest);
    else if (rest.size() == 1 && is_number(rest.front()) && o.tree == 0)
        return base::fail(base::Error(base::ErrorKind::Usage, fmt::format("excessive parameter {}", rest.front()))
                              .hint(fmt::format("a process is given with -t {}", rest.front())));
    else if (!rest.empty())
        return usage(
            fmt::format("excessive parameter{} for command {}", rest.size() > 1 ? "s" : "", name_of(o.command)));
    return {};
}

/// `criu crit ...` has a grammar of its own: everything behind the word is crit's.
bool is_crit(std::span<const std::string> args) {
    return !args.empty() && args.front() == "crit";
}

} // namespace

Environment read_environment() {
    auto get = [](const char *name) {
        const char *value = std::getenv(name);
        return std::string(value ? value : "");
    };
    return {get("HOME"), get("CRIU_CONFIG_FILE"), std::getenv("CRIU_DEPRECATED") != nullptr, get("CRIU_LIBS_DIR")};
}

Result<Invocation> load_invocation(std::span<const std::string> args, const Environment &environment) {
    Invocation out;
    if (is_crit(args)) {
        out.options.command = Command::Crit;
        out.options.crit_args.assign(args.begin() + 1, args.end());
        return out;
    }
    auto parsed = parse_args(args);
    if (!parsed) {
        base::Error &error = parsed.error();
        return base::fail(error.hint().empty() ? error.hint("criu --help lists all options") : error);
    }
    if (wants_help(*parsed) || has(*parsed, kVersionOption)) {
        out.action = wants_help(*parsed) ? Action::Help : Action::Version;
        out.help_for = command_in(*parsed);
        return out;
    }
    if (parsed->positional.empty())
        return usage("command is required");
    const CommandRow *command = find_command(parsed->positional.front());
    if (!command)
        return usage(fmt::format("unknown command: {}", parsed->positional.front()));
    if (command->support == Support::Removed) {
        out.action = Action::Removed;
        out.message = fmt::format("the command {} was removed: {}", command->name, command->reason);
        return out;
    }
    if (command->support == Support::Later)
        return base::unsupported(
            fmt::format("the command {} is not supported yet: {}", command->name, command->reason));
    if (command->command == Command::Crit)
        return usage("crit comes first: criu crit ACTION ...");
    out.options.command = command->command;
    out.options.deprecated = environment.deprecated;
    out.options.plugin_dir = environment.plugin_dir;
    for (const Occurrence &o : TRY(read_configs(config_sources(*parsed, environment))))
        TRY(apply(out.options, o));
    for (const Occurrence &o : parsed->options)
        TRY(apply(out.options, o));
    TRY(take_positional(out, std::span(parsed->positional).subspan(1)));
    TRY(cross_check(out.options, out.warnings));
    return out;
}

} // namespace cli
