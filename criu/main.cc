// criu: which engine stands behind which command. Everything else about the start is in criu/cli.

#include "criu/check/tree.hh"
#include "criu/cli/program.hh"
#include "criu/crit/crit.hh"
#include "criu/dump/dump.hh"
#include "criu/restore/restore.hh"

#include <string_view>
#include <vector>

namespace {

int run_crit(std::span<const std::string> args) {
    std::vector<std::string_view> views(args.begin(), args.end());
    return crit::run_crit(views);
}

} // namespace

int main(int argc, char **argv) {
    return cli::program(
        argc, argv,
        cli::Engines{.dump = dump::run, .restore = restore::run, .check_tree = check::run_tree, .crit = run_crit});
}
