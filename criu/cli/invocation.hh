// What one start of the program asks for: the command line, the configuration files and the environment put together.
#pragma once

#include "criu/cli/options.hh"
#include "criu/cli/parse_args.hh"

#include <span>
#include <string>
#include <vector>

namespace cli {

enum class Action : uint8_t {
    Run,
    Help,
    Version,
    Removed, ///< a command CRIU has dropped: print `message`, exit with 255
};

struct Invocation {
    Action action = Action::Run;
    Options options;
    std::string message;
    std::string help_for;              ///< with Help: a command; empty for all
    std::vector<std::string> warnings; ///< for the log, once it is open
};

/// The environment variables that matter here; unset ones are empty.
struct Environment {
    std::string home;        ///< HOME
    std::string config_file; ///< CRIU_CONFIG_FILE
    bool deprecated = false; ///< CRIU_DEPRECATED is set
    std::string plugin_dir;  ///< CRIU_LIBS_DIR
};
Environment read_environment();

/// `args` are the arguments without the program's name. Reads the configuration files.
/// Errors: Usage; Unsupported for options and commands of later parts.
Result<Invocation> load_invocation(std::span<const std::string> args, const Environment &environment);

} // namespace cli
