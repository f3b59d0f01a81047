// One table of commands and one of options. The parser, --help, criu(8), the shell completion and the reader of
// configuration files are all driven by them; nothing about an option is said anywhere else.
#pragma once

#include "base/result.hh"
#include "criu/cli/options.hh"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace cli {

using base::Result;

enum class Arg : uint8_t { None, Required, Optional };

enum class Group : uint8_t { Tree, Files, Objects, Network, Cgroups, Memory, Check, General };

/// Letters of the commands that an option concerns, for the documentation: other commands accept and do not need it,
/// so that one configuration file serves all.
enum Where : uint16_t {
    kDump = 1,
    kRestore = 2,
    kPreDump = 4,
    kPageServer = 8,
    kLazyPages = 16,
    kService = 32,
    kCheck = 64,
    kCpuinfo = 128,
    kDedup = 256,
    kMerge = 512,
    kMigrate = 1024,
    kReceive = 2048,
    kAny = 4095,
};

/// One use of an option.
struct Given {
    std::string_view spelling; ///< as the user wrote it, for messages
    std::optional<std::string_view> value;
    bool on = true; ///< false for --no-NAME
};

using Setter = Result<void> (*)(Options &, const Given &);

enum class Support : uint8_t {
    Now,
    Later,   ///< refused: belongs to a part of the program that does not exist yet; `reason` says which
    Removed, ///< refused: CRIU itself dropped it; `reason` says what to use
};

struct OptionRow {
    std::string_view name;
    char letter = '\0';
    bool extension = false; ///< not an option of CRIU: must be written out, so that CRIU's prefixes stay unambiguous
    Arg arg = Arg::None;
    bool negatable = false; ///< --no-NAME exists
    std::string_view metavar;
    Group group = Group::General;
    uint16_t where = kAny;
    Support support = Support::Now;
    std::string_view reason; ///< of Later and Removed
    /// Never null for Support::Now. A later option may have its setter already, tested and waiting for the engine.
    Setter set = nullptr;
    std::string_view help;
};

struct CommandRow {
    std::string_view name;
    std::string_view synopsis; ///< arguments, for help
    Command command = Command::None;
    Support support = Support::Now;
    std::string_view reason;
    std::string_view help;
};

std::span<const OptionRow> option_table();
std::span<const CommandRow> command_table();

const CommandRow *find_command(std::string_view name);
std::string_view group_title(Group group);

/// An action that is no command: what the table's setters of these two names stand for.
inline constexpr std::string_view kHelpOption = "help";
inline constexpr std::string_view kVersionOption = "version";
inline constexpr std::string_view kConfigOption = "config";
inline constexpr std::string_view kNoDefaultConfigOption = "no-default-config";

} // namespace cli
