// The grammar of the command line and of configuration files.
#include "criu/cli/config.hh"
#include "criu/cli/parse_args.hh"

#include <catch2/catch.hpp>

using namespace cli;

namespace {

Result<Arguments> parse_line(std::vector<std::string> args) {
    return parse_args(args);
}

std::string error_of(std::vector<std::string> args) {
    auto got = parse_line(std::move(args));
    return got ? "" : got.error().message();
}

} // namespace

TEST_CASE("arguments: options and positional ones in any order", "[cli]") {
    auto got = parse_line({"dump", "-t", "42", "--images-dir=/x", "extra", "-D", "/y", "-t7"});
    REQUIRE(got);
    CHECK(got->positional == std::vector<std::string>{"dump", "extra"});
    REQUIRE(got->options.size() == 4);
    CHECK(got->options[0].row->name == "tree");
    CHECK(got->options[0].value == "42");
    CHECK(got->options[0].spelling == "-t");
    CHECK(got->options[1].value == "/x");
    CHECK(got->options[2].row->name == "images-dir");
    CHECK(got->options[3].value == "7");
}

TEST_CASE("arguments: grouped short options and optional values", "[cli]") {
    auto got = parse_line({"-jdv4", "-v", "4", "-x12,13", "-vvv", "--verbosity", "3"});
    REQUIRE(got);
    REQUIRE(got->options.size() == 7);
    CHECK(got->options[0].row->name == "shell-job");
    CHECK(got->options[1].row->name == "restore-detached");
    CHECK(got->options[2].value == "4");
    CHECK_FALSE(got->options[3].value); // an optional value is never a separate argument
    CHECK(got->options[4].value == "12,13");
    CHECK(got->options[5].value == "vv");
    CHECK_FALSE(got->options[6].value);
    CHECK(got->positional == std::vector<std::string>{"4", "3"});
}

TEST_CASE("arguments: a double dash ends options, a single one is no option", "[cli]") {
    auto got = parse_line({"restore", "--exec-cmd", "-", "--", "sleep", "-t", "--"});
    REQUIRE(got);
    CHECK(got->options.size() == 1);
    CHECK(got->positional == std::vector<std::string>{"restore", "-", "sleep", "-t", "--"});
}

TEST_CASE("arguments: prefixes and no- forms", "[cli]") {
    auto got = parse_line({"--imag=/x", "--no-tcp-est", "--no-default", "--tree", "1"});
    REQUIRE(got);
    CHECK(got->options[0].row->name == "images-dir");
    CHECK(got->options[1].row->name == "tcp-established");
    CHECK_FALSE(got->options[1].on);
    CHECK(got->options[1].spelling == "--no-tcp-established");
    CHECK(got->options[2].row->name == "no-default-config");
    CHECK(got->options[2].on);
    // Names that CRIU does not have take no part: its prefixes keep their meaning.
    CHECK(parse_line({"--skip-f"})->options[0].row->name == "skip-file-rwx-check");
    CHECK_FALSE(parse_line({"--image-l", "split"}));
    // An exact name wins over longer ones.
    CHECK(parse_line({"--tls"})->options[0].row->name == "tls");
    CHECK(parse_line({"--external", "file[1:2]"})->options[0].row->name == "external");
}

TEST_CASE("arguments: mistakes are told as getopt_long tells them", "[cli]") {
    CHECK(error_of({"--nonsense"}) == "unrecognized option '--nonsense'");
    CHECK(error_of({"--leave"}) == "option '--leave' is ambiguous; possibilities: '--leave-stopped' '--leave-running'");
    CHECK(error_of({"-t"}) == "option '-t' requires an argument");
    CHECK(error_of({"--tree"}) == "option '--tree' requires an argument");
    CHECK(error_of({"--shell-job=1"}) == "option '--shell-job' doesn't allow an argument");
    CHECK(error_of({"-q"}) == "invalid option -- 'q'");
    CHECK(error_of({"--no-tree"}) == "unrecognized option '--no-tree'");
    CHECK(error_of({"--=x"}) == "unrecognized option '--'");
}

TEST_CASE("config: lines, comments, quotes", "[cli]") {
    auto got = parse_config("f", "# comment\n"
                                 "\n"
                                 "tcp-established # behind\n"
                                 "\tlog-file \"a \\\"b\\\" # c\"\r\n"
                                 "no-shell-job\n"
                                 "action-script /x#y\n"
                                 "verbosity 4");
    REQUIRE(got);
    REQUIRE(got->size() == 5);
    CHECK((*got)[0].row->name == "tcp-established");
    CHECK((*got)[1].value == "a \"b\" # c");
    CHECK_FALSE((*got)[2].on);
    CHECK((*got)[3].value == "/x");
    CHECK((*got)[4].value == "4");
    CHECK((*got)[4].spelling == "f:7: verbosity");
}

TEST_CASE("config: mistakes name file and line", "[cli]") {
    auto error = [](const char *text) { return parse_config("f", text).error().message(); };
    CHECK(error("\nnonsense\n") == "f:2: unrecognized option '--nonsense'");
    CHECK(error("tree") == "f:1: 'tree' needs a value");
    CHECK(error("shell-job yes") == "f:1: 'shell-job' takes no value");
    CHECK(error("log-file a b").starts_with("f:1: more than one value for 'log-file'"));
    CHECK(error("log-file \"a") == "f:1: a quoted value does not end");
    CHECK(error("dump") == "f:1: unrecognized option '--dump'");
    CHECK(error("config x") == "f:1: 'config' has no place in a configuration file");
}
