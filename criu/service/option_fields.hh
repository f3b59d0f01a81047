// Fields of criu_opts, each as the option of the command line that it is another spelling of: what an option accepts,
// means and refuses is said in one place, the option table.
#pragma once

#include "criu/cli/options.hh"
#include "rpc.pb.h"

#include <span>
#include <string>
#include <vector>

namespace service {

using base::Result;

/// How a field gets to its option.
enum class Way : uint8_t {
    Flag,    ///< a bool; false is --no-NAME where that exists, and nothing otherwise
    Value,   ///< a number or text
    Values,  ///< repeated text
    Special, ///< by its own function
    Session, ///< no option: seen to by session.cc and worker.cc
};

struct Field {
    std::string_view name;
    std::string_view option; ///< empty for Session
    Way way = Way::Value;
    /// Of Special: the values for the option.
    Result<std::vector<std::string>> (*values)(const img::criu_opts &) = nullptr;
};

/// One row for each field of the message.
std::span<const Field> option_fields();

/// Applies all fields that are set. Errors: Unsupported, Usage, with the field's name.
Result<void> apply_fields(const img::criu_opts &from, cli::Options &to);

/// What the configuration file says goes over what the request says; a file that is missing says nothing.
Result<void> apply_config(const std::string &path, cli::Options &to);

} // namespace service
