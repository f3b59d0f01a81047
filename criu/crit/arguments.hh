// The command line of crit, as value. The rules are those of python's argparse: options anywhere, `-iFILE`,
// `--in=FILE`, unambiguous beginnings of long options, `--` ends options.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace crit {

enum class Command { Decode, Encode, Info, Show, Explore, Core };
enum class Topic { Ps, Fds, Mems, Rss };

struct Arguments {
    Command command{};
    bool pretty = false;
    bool no_payload = false;
    std::optional<std::string> in, out; ///< nothing: standard input or output
    std::string dir;
    std::optional<uint32_t> pid; ///< of core; nothing: all tasks
    Topic topic{};
};

/// What to print instead of running, and the exit status. Help goes to standard output, errors (status not 0) do not.
struct Stop {
    int status;
    std::string text;
};

std::expected<Arguments, Stop> parse_arguments(std::span<const std::string_view> args);

} // namespace crit
