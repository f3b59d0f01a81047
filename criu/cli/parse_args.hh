// The command line's grammar, as getopt_long has it, without its global state: options and positional arguments in any
// order, `--name=value` and `--name value`, unambiguous prefixes, grouped short options, `--` ends options.
#pragma once

#include "criu/cli/option_table.hh"

#include <string>
#include <vector>

namespace cli {

/// One option as it was given, on a command line or in a configuration file.
struct Occurrence {
    const OptionRow *row = nullptr;
    bool on = true;
    std::optional<std::string> value;
    std::string spelling; ///< "--tls", "-t", "/etc/criu/default.conf:3: tls"
};

struct Arguments {
    std::vector<Occurrence> options; ///< in the order given
    std::vector<std::string> positional;
};

/// A row by name, `no-` form or unambiguous prefix of either.
/// Errors: Usage, with the candidates if the prefix is ambiguous.
struct NameMatch {
    const OptionRow *row;
    bool on;
};
Result<NameMatch> match_name(std::string_view name);

/// Errors: Usage for unknown, ambiguous, or wrongly used options.
Result<Arguments> parse_args(std::span<const std::string> args);

/// Applies one occurrence to the options, or refuses it by name.
/// Errors: Unsupported for options of later parts of the program, Usage for removed ones and bad values.
Result<void> apply(Options &options, const Occurrence &occurrence);

} // namespace cli
