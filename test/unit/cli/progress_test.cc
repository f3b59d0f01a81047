// What is shown of a command's progress, and when.
#include "criu/cli/progress.hh"

#include <catch2/catch.hpp>

namespace {

using Tree = engine::Progress::Tree;

TEST_CASE("a line of progress says what is known", "[cli]") {
    cli::ProgressFigures figures{.tree = Tree::Stands, .total = 1024u << 20, .done = 512u << 20};
    CHECK(cli::progress_line("dump", figures, 850'000'000) == "dump: 512 of 1024 MiB, 850 MB/s; the tree stands");
    figures = {
        .tree = Tree::Runs, .round = 2, .total = 5u << 20, .done = 5u << 20, .written = 12u << 20, .stall_us = 63'400};
    CHECK(
        cli::progress_line("migrate", figures, 0) ==
        "migrate: round 2: 5 MiB, 12 MiB written by the tree meanwhile, it will stand for about 63 ms; the tree runs");
    CHECK(cli::progress_line("restore", {.done = 7u << 20}, 1'000'000) == "restore: 7 MiB, 1 MB/s");
}

TEST_CASE("progress is shown where it disturbs nobody, or as the user says", "[cli]") {
    cli::Options options;
    CHECK(cli::shows_progress(options, true)); // warnings may come between
    CHECK_FALSE(cli::shows_progress(options, false));
    options.verbosity = 0;
    CHECK_FALSE(cli::shows_progress(options, true));
    options.verbosity = 4;
    CHECK_FALSE(cli::shows_progress(options, true)); // the log goes to the same terminal
    options.log_file = "-";
    CHECK_FALSE(cli::shows_progress(options, true));
    options.log_file = "dump.log";
    CHECK(cli::shows_progress(options, true));
    options.progress = false;
    CHECK_FALSE(cli::shows_progress(options, true));
    options.progress = true;
    CHECK(cli::shows_progress(options, false));
}

} // namespace
