// Configuration files: one option per line, without dashes, with its value behind it.
#pragma once

#include "criu/cli/parse_args.hh"

#include <string_view>
#include <vector>

namespace cli {

/// Options in the order of the text. `name` is the file's, for messages. A `#` outside of quotes begins a comment; a
/// value may stand in double quotes, in which \" is a quote and nothing else is special.
/// Errors: Usage with file and line.
Result<std::vector<Occurrence>> parse_config(std::string_view name, std::string_view text);

/// Where configuration comes from; the empty string stands for none.
struct ConfigSources {
    std::string home;          ///< $HOME
    std::string environment;   ///< $CRIU_CONFIG_FILE
    std::string explicit_file; ///< --config
    bool defaults = true;      ///< false with --no-default-config
};

/// Options of all files, least binding first: /etc/criu/default.conf, $HOME/.criu/default.conf, $CRIU_CONFIG_FILE,
/// --config. The first two are left out if --config is given. A missing default file is no error, another one is.
Result<std::vector<Occurrence>> read_configs(const ConfigSources &sources);

} // namespace cli
