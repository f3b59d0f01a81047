// Options as a whole: values, their checks, precedence, and what is refused.
#include "criu/cli/help.hh"
#include "criu/cli/invocation.hh"
#include "criu/cli/option_values.hh"
#include "criu/cli/privilege.hh"
#include "criu/cli/supported.hh"
#include "criu/resource/file/file.hh"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

using namespace cli;

namespace {

Result<Invocation> load(std::vector<std::string> args, const Environment &environment = {}) {
    args.push_back("--no-default-config"); // a test must not depend on /etc
    return load_invocation(args, environment);
}

Options options_of(std::vector<std::string> args) {
    auto got = load(std::move(args));
    if (!got)
        FAIL(got.error().message());
    return got->options;
}

std::string error_of(std::vector<std::string> args) {
    auto got = load(std::move(args));
    return got ? "" : got.error().message();
}

/// Through the setters alone, whether the engines support the option yet or not.
Result<Options> set(std::vector<std::string> args) {
    Arguments parsed = TRY(parse_args(args));
    Options options;
    for (const Occurrence &o : parsed.options)
        TRY(o.row->set(options, Given{o.spelling, o.value, o.on}));
    return options;
}

/// A folder that goes with the test.
struct TempDir {
    std::string path = (std::filesystem::temp_directory_path() / "criu-unit-XXXXXX").string();
    TempDir() { REQUIRE(mkdtemp(path.data())); }
    ~TempDir() { std::filesystem::remove_all(path); }
    std::string write(const std::string &name, const std::string &text) const {
        std::filesystem::create_directories(std::filesystem::path(path + "/" + name).parent_path());
        std::ofstream(path + "/" + name) << text;
        return path + "/" + name;
    }
};

} // namespace

TEST_CASE("options: numbers, sizes, words", "[cli]") {
    Options o = options_of({"dump",
                            "--tree=42",
                            "-D",
                            "img",
                            "-W",
                            "work",
                            "-o",
                            "log",
                            "-v4",
                            "-R",
                            "--timeout",
                            "0",
                            "--ghost-limit",
                            "2M",
                            "--image-layout",
                            "split",
                            "--file-validation=filesize",
                            "--skip-fd",
                            "3",
                            "--skip-fd",
                            "4",
                            "--action-script",
                            "/a",
                            "--action-script",
                            "/b",
                            "--no-ghost-fiemap"});
    CHECK(o.command == Command::Dump);
    CHECK(o.tree == 42);
    CHECK(o.images_dir == "img");
    CHECK(o.work_dir == "work");
    CHECK(o.log_file == "log");
    CHECK(o.verbosity == 4);
    CHECK(o.leave_running);
    CHECK(o.timeout_seconds == 0);
    CHECK(o.ghost_limit == 2u << 20);
    CHECK(o.image_layout == ImageLayout::Split);
    CHECK(o.file_validation == FileValidation::FileSize);
    CHECK(o.skip_fds == std::vector<int>{3, 4});
    CHECK(o.action_scripts == std::vector<std::string>{"/a", "/b"});
    CHECK_FALSE(o.ghost_fiemap);
}

TEST_CASE("options: lists, brackets, words of options whose engines come later", "[cli]") {
    auto o = set({"--cpu-cap=none", "-x12,13", "--network-lock", "skip", "--external", "unix[88]", "--external",
                  "unix[12]:key"});
    REQUIRE(o);
    CHECK(o->cpu_cap == 0);
    CHECK(o->ext_unix_sk);
    CHECK(o->ext_unix_inodes == std::vector<uint64_t>{12, 13});
    CHECK(o->network_lock == NetworkLock::Skip);
    REQUIRE(o->external.size() == 2);
    CHECK(o->external[0].kind == "unix");
    CHECK(o->external[0].key == "88");
    CHECK(o->external[1].value == "key");
    Options words;
    REQUIRE(values::cpu_cap(words, Given{"--cpu-cap", "cpu,^fpu", true}));
    CHECK(words.cpu_cap == (kCpuCapCpu | kCpuCapIns));
    auto found = set({"--external", "mnt[]:ms", "--external", "dev[8/1]:disk", "--ext-mount-map", "console:"});
    CHECK((found->external.empty() && found->auto_mounts && found->external_masters && found->external_sharing));
    CHECK((found->device_map.size() == 1 && found->mount_map.empty()));
    CHECK_FALSE(set({"--external", "mnt[]"})->external_masters);
    CHECK_FALSE(set({"--external", "mnt[]:x"}));
    CHECK(set({"-x"})->ext_unix_inodes.empty());
    for (const char *bad :
         {"--cpu-cap=gpu", "--cpu-cap=^none", "-xinode", "-x0", "--external=file", "--external=file[]",
          "--external=]x[", "--external=thing[1]", "--external=mnt[/x]", "--network-lock=maybe"})
        CHECK_FALSE(set({bad}));
    CHECK(set({"--network-lock", "maybe"}).error().hint() == "accepted: nftables, iptables, skip, none");
}

TEST_CASE("options: what only matters for namespaces of their own is accepted", "[cli]") {
    CHECK(error_of({"dump", "-t", "1", "--enable-fs", "hugetlbfs", "--enable-external-sharing",
                    "--enable-external-masters", "--external", "mnt[]"}) == "");
    CHECK(error_of({"restore", "--weak-sysctls", "--mntns-compat-mode", "--enable-fs=all", "--cpu-cap=none"}) == "");
    CHECK(options_of({"restore", "--manage-cgroups"}).manage_cgroups == resource::cgroup::Mode::Soft);
    CHECK(options_of({"restore", "--manage-cgroups=soft"}).manage_cgroups == resource::cgroup::Mode::Soft);
    CHECK(error_of({"restore", "--cpu-cap=fpu"}) == "");
    CHECK(error_of({"cpuinfo"}) == "cpuinfo wants to know what to do");
    CHECK(error_of({"cpuinfo", "dump", "check"}) == "cpuinfo wants to know what to do");
}

TEST_CASE("options: defaults are CRIU's", "[cli]") {
    Options o = options_of({"dump", "-t", "1"});
    CHECK(o.images_dir == ".");
    CHECK(o.verbosity == 2);
    CHECK(o.timeout_seconds == 10);
    CHECK(o.ghost_limit == 1u << 20);
    CHECK(o.ghost_fiemap);
    CHECK(o.cpu_cap == (kCpuCapFpu | kCpuCapIns));
    CHECK(o.file_validation == FileValidation::BuildId);
    CHECK(o.image_layout == ImageLayout::Current);
    CHECK(o.manage_cgroups == resource::cgroup::Mode::Soft);
}

TEST_CASE("options: verbosity counts letters from the default", "[cli]") {
    CHECK(options_of({"check", "-v"}).verbosity == 3);
    CHECK(options_of({"check", "-vv"}).verbosity == 4);
    CHECK(options_of({"check", "-v", "-v"}).verbosity == 4);
    CHECK(options_of({"check", "-v0"}).verbosity == 0);
    CHECK(options_of({"check", "--verbosity=3"}).verbosity == 3);
}

TEST_CASE("options: bad values are refused with what is accepted", "[cli]") {
    auto hint = [](std::vector<std::string> args) { return load(std::move(args)).error().hint(); };
    CHECK(error_of({"dump", "-t", "0"}) == "-t: '0' is not valid");
    CHECK(hint({"dump", "-t", "0"}) == "accepted: a number, 1 or more");
    CHECK(error_of({"dump", "-t", "12x"}) == "-t: '12x' is not valid");
    CHECK(error_of({"dump", "-t", "99999999999"}) == "-t: '99999999999' is not valid");
    CHECK(hint({"dump", "-t1", "--image-layout", "new"}) == "accepted: current, split");
    for (std::vector<std::string> bad : std::vector<std::vector<std::string>>{{"--ghost-limit", "1T"},
                                                                              {"--ghost-limit", ""},
                                                                              {"--ghost-limit", "99999999999G"},
                                                                              {"--image-layout", "new"},
                                                                              {"--timeout", "-1"},
                                                                              {"--skip-fd", "-1"},
                                                                              {"--allow-loss", "keyrings,all"},
                                                                              {"--allow-loss", ""},
                                                                              {"--images-dir", ""},
                                                                              {"-vloud"}}) {
        INFO(bad[0]);
        std::vector<std::string> args{"dump", "-t", "1"};
        args.insert(args.end(), bad.begin(), bad.end());
        CHECK_FALSE(load(args));
    }
}

TEST_CASE("options: losses that are allowed add up", "[cli]") {
    using resource::Loss;
    const auto o = set({"-t", "1", "--allow-loss", "keyrings,sem-undo", "--allow-loss", "landlock"});
    REQUIRE(o.has_value());
    for (const Loss loss : {Loss::Keyrings, Loss::SemaphoreUndo, Loss::Landlock})
        CHECK(o->allowed_losses.has(loss));
    CHECK_FALSE(o->allowed_losses.has(Loss::NetlinkAnswers));
}

TEST_CASE("options: inherited descriptors", "[cli]") {
    auto o = set({"--inherit-fd", "fd[3]:pipe:[41290]", "--inherit-fd", "fd[12]:tmp/a b"});
    REQUIRE(o);
    REQUIRE(o->inherit_fds.size() == 2);
    CHECK(o->inherit_fds[0].fd == 3);
    CHECK(o->inherit_fds[0].key == "pipe:[41290]");
    CHECK(o->inherit_fds[1].key == "tmp/a b");
    for (const char *bad : {"fd[3]", "fd[]:x", "fd[x]:y", "3:x", "fd[-1]:x", "fd[3]:"})
        CHECK_FALSE(set({"--inherit-fd", bad}));
}

TEST_CASE("commands: required, unknown, excessive, removed, later", "[cli]") {
    CHECK(error_of({}) == "command is required");
    CHECK(error_of({"dunp"}) == "unknown command: dunp");
    CHECK(error_of({"dump", "-t", "1", "x"}) == "excessive parameter for command dump");
    CHECK(error_of({"check", "x", "y"}) == "excessive parameters for command check");
    CHECK(error_of({"cpuinfo", "show"}) == "cpuinfo wants to know what to do");
    CHECK(error_of({"pre-dump"}) == "no process tree given; pre-dump needs -t PID");
    CHECK(error_of({"dump"}) == "no process tree given; dump needs -t PID");
    CHECK(load({"exec"})->action == Action::Removed);
    CHECK(load({"show", "x"})->action == Action::Removed);
    CHECK(load({"--help"})->action == Action::Help);
    CHECK(load({"dump", "--help"})->help_for == "dump");
    CHECK(load({"help", "check"})->help_for == "check");
    CHECK(error_of({"dump", "1234"}) == "excessive parameter 1234");
    CHECK(error_of({"dump", "--pid", "1"}) == "there is no option --pid");
    CHECK(load({"dump", "-V"})->action == Action::Version);
    CHECK(load({"restore", "-t", "4"})->warnings.size() == 1);
    auto crit = load_invocation(std::vector<std::string>{"crit", "show", "-x", "--help"}, {});
    REQUIRE(crit);
    CHECK(crit->options.command == Command::Crit);
    CHECK(crit->options.crit_args == std::vector<std::string>{"show", "-x", "--help"});
}

TEST_CASE("options of later parts are refused by name, wherever they stand", "[cli]") {
    CHECK(error_of({"restore", "--lsm-profile", "apparmor:x"}) ==
          "--lsm-profile is not supported yet: security modules");
    CHECK(load({"restore", "--lsm-profile", "apparmor:x"}).error().kind() == base::ErrorKind::Unsupported);
    CHECK(error_of({"check", "--ms"}).starts_with("--ms: it was removed"));
    TempDir dir;
    std::string file = dir.write("c", "shell-job\nlsm-profile apparmor:x\n");
    CHECK(error_of({"dump", "-t", "1", "--config", file}) ==
          file + ":2: lsm-profile is not supported yet: security modules");
    // Every row that is not supported is refused, whatever it is called.
    for (const OptionRow &row : option_table()) {
        if (row.support == Support::Now)
            continue;
        std::vector<std::string> args{"dump", "-t", "1", "--" + std::string(row.name)};
        if (row.arg == Arg::Required)
            args.emplace_back("1");
        INFO(row.name);
        CHECK_FALSE(load(args));
    }
}

TEST_CASE("options exclude and need each other", "[cli]") {
    CHECK_FALSE(load({"restore", "-S"}));
    CHECK(load({"restore", "-S", "-d"}));
    CHECK_FALSE(load({"restore", "-d", "--exec-cmd", "--", "true"}));
    CHECK_FALSE(load({"restore", "--exec-cmd"}));
    CHECK_FALSE(load({"check", "--json"}));
    // The command of --exec-cmd may hold what looks like options.
    std::vector<std::string> args{"restore", "--no-default-config", "--exec-cmd", "--", "sh", "-c", "--x"};
    auto got = load_invocation(args, {});
    REQUIRE(got);
    CHECK(got->options.exec_argv == std::vector<std::string>{"sh", "-c", "--x"});
}

TEST_CASE("configuration: later sources win, --config replaces the defaults", "[cli]") {
    TempDir dir;
    std::string home = dir.path;
    dir.write(".criu/default.conf", "ghost-limit 1\ntimeout 1\nlog-file home\n");
    std::string env = dir.write("env.conf", "timeout 2\nlog-file env\n");
    std::string given = dir.write("given.conf", "log-file given\n");
    Environment environment{home, env, true};

    std::vector<std::string> args{"dump", "-t", "1"};
    auto both = load_invocation(args, environment);
    REQUIRE(both);
    CHECK(both->options.ghost_limit == 1);
    CHECK(both->options.timeout_seconds == 2);
    CHECK(both->options.log_file == "env");
    CHECK(both->options.deprecated);

    args = {"dump", "-t", "1", "--config", given, "--timeout", "3"};
    auto explicit_one = load_invocation(args, environment);
    REQUIRE(explicit_one);
    CHECK(explicit_one->options.ghost_limit == 1u << 20); // the home file was not read
    CHECK(explicit_one->options.log_file == "given");
    CHECK(explicit_one->options.timeout_seconds == 3);

    args = {"dump", "-t", "1", "--no-default-config"};
    CHECK(load_invocation(args, environment)->options.ghost_limit == 1u << 20);
    CHECK_FALSE(load({"dump", "-t", "1", "--config", dir.path + "/missing"}));
}

TEST_CASE("privileges: the gate", "[cli]") {
    Options plain, unprivileged;
    unprivileged.unprivileged = true;
    CHECK(check_privileges({0, true, false}, plain));
    CHECK(check_privileges({0, false, true}, plain));
    CHECK_FALSE(check_privileges({0, false, false}, plain));
    CHECK_FALSE(check_privileges({1000, false, true}, plain));
    CHECK(check_privileges({1000, false, true}, unprivileged));
    CHECK_FALSE(check_privileges({1000, false, false}, unprivileged));
}

TEST_CASE("every kind of descriptor says what is kept of it", "[cli]") {
    for (const resource::FileKind *kind : resource::file_kinds()) {
        INFO(kind->name);
        CHECK(kind->about.saved);
    }
}

TEST_CASE("help names every option; the checked-in texts are current", "[cli]") {
    std::string help = full_help();
    for (const OptionRow &row : option_table())
        CHECK((row.set != nullptr || row.support != Support::Now));
    for (const OptionRow &row : option_table())
        if (row.support != Support::Removed)
            CHECK(help.find(std::string(row.name)) != std::string::npos);
    auto file = [](const std::string &name) {
        std::ifstream in(std::string(SOURCE_ROOT) + "/" + name);
        return std::string(std::istreambuf_iterator<char>(in), {});
    };
    // If this fails: scripts/update-generated
    CHECK(file("Documentation/criu.8") == man_page());
    CHECK(file("scripts/criu.bash-completion") == bash_completion());
    CHECK(file("Documentation/supported.md") == supported_kinds());
}
