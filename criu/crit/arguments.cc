#include "criu/crit/arguments.hh"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <vector>

namespace crit {
namespace {

constexpr std::string_view kVersion = "4.2";

enum class Option { Help, Pretty, NoPayload, In, Out, Pid };

struct OptionInfo {
    Option option;
    char letter; ///< 0: none
    std::string_view name;
    bool has_value;
    std::string_view help;
};

constexpr OptionInfo kHelp{Option::Help, 'h', "help", false, "show this help message and exit"};
constexpr OptionInfo kPretty{Option::Pretty, 0, "pretty", false, "in lines, with numbers in the form of their field"};
constexpr OptionInfo kBinaryIn{Option::In, 'i', "in", true, "image to be decoded (standard input by default)"};
constexpr OptionInfo kJsonOut{Option::Out, 'o', "out", true, "where to put the JSON (standard output by default)"};
constexpr OptionInfo kJsonIn{Option::In, 'i', "in", true, "JSON to be encoded (standard input by default)"};
constexpr OptionInfo kBinaryOut{Option::Out, 'o', "out", true, "where to put the image (standard output by default)"};
constexpr OptionInfo kNoPayload{Option::NoPayload, 0, "nopl", false, "do not show the payload of entries"};

constexpr OptionInfo kImagesIn{Option::In, 'i', "in", true, "folder of the images (the current one by default)"};
constexpr OptionInfo kCoresOut{Option::Out, 'o', "out", true, "folder for core.PID (the current one by default)"};
constexpr OptionInfo kPid{Option::Pid, 'p', "pid", true, "the process (all by default)"};

constexpr OptionInfo kDecodeOptions[]{kHelp, kPretty, kBinaryIn, kJsonOut};
constexpr OptionInfo kEncodeOptions[]{kHelp, kJsonIn, kBinaryOut};
constexpr OptionInfo kInfoOptions[]{kHelp};
constexpr OptionInfo kShowOptions[]{kHelp, kNoPayload};
constexpr OptionInfo kCoreOptions[]{kHelp, kImagesIn, kPid, kCoresOut};

struct CommandInfo {
    Command command;
    std::string_view name, usage, help;
    std::span<const OptionInfo> options;
    size_t operands;
    std::string_view operand_names;
};

constexpr CommandInfo kCommands[]{
    {Command::Decode, "decode", "[-h] [--pretty] [-i IN] [-o OUT]", "convert an image to JSON", kDecodeOptions, 0, ""},
    {Command::Encode, "encode", "[-h] [-i IN] [-o OUT]", "convert JSON to an image", kEncodeOptions, 0, ""},
    {Command::Info, "info", "[-h] in", "show what an image is", kInfoOptions, 1, "in"},
    {Command::Explore, "x", "[-h] dir {ps,fds,mems,rss}", "explore a directory of images", kInfoOptions, 2,
     "dir, what"},
    {Command::Core, "core", "[-h] [-i IN] [-p PID] [-o OUT]", "write core files for debuggers", kCoreOptions, 0, ""},
    {Command::Show, "show", "[-h] [--nopl] in", "convert an image to JSON for people", kShowOptions, 1, "in"},
};

constexpr std::string_view kUsage = "usage: crit [-h] [--version] {decode,encode,info,x,core,show} ...\n";

std::unexpected<Stop> wrong(const CommandInfo &c, std::string_view text) {
    return std::unexpected(
        Stop{2, fmt::format("usage: crit {} {}\ncrit {}: error: {}\n", c.name, c.usage, c.name, text)});
}

std::string general_help() {
    std::string out =
        fmt::format("{}\nLooks into the images of a checkpoint.\n\ncommands (see crit COMMAND --help):\n", kUsage);
    for (const CommandInfo &c : kCommands)
        out += fmt::format("    {:<8}{}\n", c.name, c.help);
    return out +
           "\noptions:\n    -h, --help  show this help message and exit\n    --version   show the version and exit\n";
}

std::string command_help(const CommandInfo &c) {
    std::string out = fmt::format("usage: crit {} {}\n\n{}\n\noptions:\n", c.name, c.usage, c.help);
    for (const OptionInfo &o : c.options) {
        std::string letter = o.letter ? fmt::format("-{}, ", o.letter) : "";
        out +=
            fmt::format("    {:<16}{}\n", letter + "--" + std::string(o.name) + (o.has_value ? " FILE" : ""), o.help);
    }
    return out;
}

const OptionInfo *find_long(const CommandInfo &c, std::string_view name) {
    const OptionInfo *only = nullptr;
    for (const OptionInfo &o : c.options) {
        if (o.name == name)
            return &o;
        if (o.name.starts_with(name)) {
            if (only) // ambiguous
                return nullptr;
            only = &o;
        }
    }
    return only;
}

struct Found {
    const OptionInfo *option = nullptr;
    std::optional<std::string_view> value; ///< attached with `=` or to the letter
};

Found find_option(const CommandInfo &c, std::string_view arg) {
    Found found;
    if (arg.starts_with("--")) {
        size_t equals = arg.find('=');
        found.option = find_long(c, arg.substr(2, equals == std::string_view::npos ? equals : equals - 2));
        if (equals != std::string_view::npos)
            found.value = arg.substr(equals + 1);
        return found;
    }
    for (const OptionInfo &o : c.options)
        if (o.letter && o.letter == arg[1])
            found.option = &o;
    if (arg.size() > 2)
        found.value = arg.substr(arg[2] == '=' ? 3 : 2);
    return found;
}

std::expected<void, Stop> apply(const CommandInfo &c, const OptionInfo &option, std::string_view value,
                                Arguments &out) {
    switch (option.option) {
    case Option::Help:
        return std::unexpected(Stop{0, command_help(c)});
    case Option::Pretty:
        out.pretty = true;
        return {};
    case Option::NoPayload:
        out.no_payload = true;
        return {};
    case Option::In:
        out.in = value;
        return {};
    case Option::Out:
        out.out = value;
        return {};
    case Option::Pid: {
        uint32_t pid = 0;
        const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), pid);
        if (error != std::errc() || end != value.data() + value.size())
            return wrong(c, fmt::format("argument --pid: invalid int value: '{}'", value));
        out.pid = pid;
        return {};
    }
    }
    return {};
}

std::expected<void, Stop> take_operands(const CommandInfo &c, std::span<const std::string_view> operands,
                                        Arguments &out) {
    if (operands.size() < c.operands)
        return wrong(c, fmt::format("the following arguments are required: {}", c.operand_names));
    if (operands.size() > c.operands)
        return wrong(c, fmt::format("unrecognized arguments: {}", operands[c.operands]));
    if (c.command == Command::Info || c.command == Command::Show)
        out.in = operands[0];
    if (c.command != Command::Explore)
        return {};
    out.dir = operands[0];
    constexpr std::pair<std::string_view, Topic> kTopics[]{
        {"ps", Topic::Ps}, {"fds", Topic::Fds}, {"mems", Topic::Mems}, {"rss", Topic::Rss}};
    auto topic = std::ranges::find(kTopics, operands[1], &std::pair<std::string_view, Topic>::first);
    if (topic == std::end(kTopics))
        return wrong(c,
                     fmt::format("argument what: invalid choice: '{}' (choose from ps, fds, mems, rss)", operands[1]));
    out.topic = topic->second;
    return {};
}

std::expected<Arguments, Stop> parse_command(const CommandInfo &c, std::span<const std::string_view> args) {
    Arguments out{.command = c.command};
    std::vector<std::string_view> operands;
    bool options_end = false;
    for (size_t i = 0; i < args.size(); i++) {
        std::string_view arg = args[i];
        if (options_end || arg.size() < 2 || arg[0] != '-') {
            operands.push_back(arg);
            continue;
        }
        if (arg == "--") {
            options_end = true;
            continue;
        }
        Found found = find_option(c, arg);
        if (!found.option)
            return wrong(c, fmt::format("unrecognized arguments: {}", arg));
        if (!found.option->has_value && found.value)
            return wrong(c, fmt::format("argument --{}: takes no value", found.option->name));
        if (found.option->has_value && !found.value) {
            if (++i == args.size())
                return wrong(c, fmt::format("argument --{}: expected one argument", found.option->name));
            found.value = args[i];
        }
        if (auto done = apply(c, *found.option, found.value.value_or(""), out); !done)
            return std::unexpected(done.error());
    }
    if (auto done = take_operands(c, operands, out); !done)
        return std::unexpected(done.error());
    return out;
}

} // namespace

std::expected<Arguments, Stop> parse_arguments(std::span<const std::string_view> args) {
    if (args.empty())
        return std::unexpected(Stop{1, std::string(kUsage) + "crit: error: too few arguments\n"});
    if (args[0] == "-h" || args[0] == "--help")
        return std::unexpected(Stop{0, general_help()});
    if (args[0] == "--version")
        return std::unexpected(Stop{0, std::string(kVersion) + "\n"});
    auto command = std::ranges::find(kCommands, args[0], &CommandInfo::name);
    if (command == std::end(kCommands))
        return std::unexpected(Stop{2, fmt::format("{}crit: error: invalid choice: '{}'\n", kUsage, args[0])});
    return parse_command(*command, args.subspan(1));
}

} // namespace crit
