#include "criu/cli/help.hh"

#include "criu/cli/option_table.hh"
#include "criu/cli/version.hh"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <iterator>

namespace cli {

namespace {

constexpr std::array kGroups{Group::Tree,    Group::Files,  Group::Objects, Group::Network,
                             Group::Cgroups, Group::Memory, Group::Check,   Group::General};
constexpr size_t kHelpColumn = 34, kWidth = 100;

/// "-t, --tree PID", "--[no-]tls", "-v, --verbosity[=N]"
std::string forms(const OptionRow &row) {
    std::string out = row.letter ? fmt::format("-{}, ", row.letter) : "    ";
    out += fmt::format("--{}{}", row.negatable ? "[no-]" : "", row.name);
    if (row.arg == Arg::Required)
        out += fmt::format(" {}", row.metavar);
    else if (row.arg == Arg::Optional)
        out += fmt::format("[={}]", row.metavar);
    return out;
}

/// Words of `text` in lines of at most `width`, all but the first indented.
std::string wrap(std::string_view text, size_t indent, size_t width) {
    std::string out;
    size_t column = indent;
    while (!text.empty()) {
        size_t end = text.find(' ');
        std::string_view word = text.substr(0, end);
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
        if (column > indent && column + 1 + word.size() > width) {
            out += '\n';
            out.append(indent, ' ');
            column = indent;
        } else if (column > indent) {
            out += ' ';
            ++column;
        }
        out += word;
        column += word.size();
    }
    return out;
}

std::string later_note(Support support, std::string_view reason) {
    return support == Support::Later ? fmt::format(" (Not supported yet: {}.)", reason) : std::string();
}

/// `only`: a command; empty for all.
void help_commands(std::string &out, std::string_view only = {}) {
    for (const CommandRow &row : command_table()) {
        if (row.support == Support::Removed || (!only.empty() && row.name != only))
            continue;
        std::string head = fmt::format("  {}{} {}", only.empty() ? "" : "criu ", row.name, row.synopsis);
        fmt::format_to(std::back_inserter(out), "{:<{}}{}\n", head, kHelpColumn,
                       wrap(fmt::format("{}{}", row.help, later_note(row.support, row.reason)), kHelpColumn, kWidth));
    }
}

void help_options(std::string &out, Group group, uint16_t where = kAny) {
    const auto is_shown = [&](const OptionRow &row) {
        return row.group == group && row.support != Support::Removed && row.where & where;
    };
    if (std::ranges::none_of(option_table(), is_shown))
        return;
    fmt::format_to(std::back_inserter(out), "\n{}:\n", group_title(group));
    for (const OptionRow &row : option_table()) {
        if (!is_shown(row))
            continue;
        std::string head = fmt::format("  {}", forms(row));
        if (head.size() + 2 > kHelpColumn)
            head += '\n' + std::string(kHelpColumn, ' ');
        fmt::format_to(std::back_inserter(out), "{:<{}}{}\n", head, kHelpColumn,
                       wrap(fmt::format("{}{}", row.help, later_note(row.support, row.reason)), kHelpColumn, kWidth));
    }
}

constexpr std::array<std::pair<Where, std::string_view>, 12> kPlaces{{{kDump, "dump"},
                                                                      {kPreDump, "pre-dump"},
                                                                      {kRestore, "restore"},
                                                                      {kCheck, "check"},
                                                                      {kPageServer, "page-server"},
                                                                      {kLazyPages, "lazy-pages"},
                                                                      {kService, "service"},
                                                                      {kCpuinfo, "cpuinfo"},
                                                                      {kDedup, "dedup"},
                                                                      {kMerge, "merge"},
                                                                      {kMigrate, "migrate"},
                                                                      {kReceive, "receive"}}};

/// Text in roff: a backslash or minus is escaped, a leading dot or quote cannot begin a request.
std::string roff(std::string_view text) {
    std::string out;
    for (char c : text) {
        if (c == '\\')
            out += "\\e";
        else if (c == '-')
            out += "\\-";
        else
            out += c;
    }
    return out.starts_with('.') || out.starts_with('\'') ? "\\&" + out : out;
}

/// "For dump and restore.", nothing if an option concerns every command.
std::string concerns(uint16_t where) {
    if (where == kAny)
        return {};
    std::string out;
    for (auto [bit, name] : kPlaces)
        if (where & bit)
            out += fmt::format("{}{}", out.empty() ? " For " : ", ", name);
    return out + '.';
}

void man_commands(std::string &out) {
    out += ".SH COMMANDS\n";
    for (const CommandRow &row : command_table()) {
        if (row.support == Support::Removed)
            continue;
        fmt::format_to(std::back_inserter(out), ".TP\n.BR {} \" {}\"\n{}\n", roff(row.name), roff(row.synopsis),
                       roff(fmt::format("{}{}", row.help, later_note(row.support, row.reason))));
    }
}

void man_options(std::string &out) {
    out += ".SH OPTIONS\nOptions may stand before or behind the command, and be shortened as long as they stay "
           "unambiguous. An option that does not concern a command is accepted by it.\n";
    for (Group group : kGroups) {
        fmt::format_to(std::back_inserter(out), ".SS {}\n", group_title(group));
        for (const OptionRow &row : option_table()) {
            if (row.group != group || row.support == Support::Removed)
                continue;
            std::string shown = forms(row);
            shown.erase(0, shown.find_first_not_of(' '));
            fmt::format_to(
                std::back_inserter(out), ".TP\n.B {}\n{}\n", roff(shown),
                roff(fmt::format("{}{}{}", row.help, concerns(row.where), later_note(row.support, row.reason))));
        }
    }
}

constexpr std::string_view kManHead = R"(.SH NAME
criu \- checkpoint and restore process trees
.SH SYNOPSIS
.B criu
.I command
.RI [ option ...]
.SH DESCRIPTION
criu freezes a tree of processes, saves its state into image files, and brings it back from them later, on this or
another machine. Images and command line are those of CRIU 4.2.
)";

constexpr std::string_view kManTail = R"(.SH CONFIGURATION
Options are read, later ones winning, from
.IR /etc/criu/default.conf ,
.IR $HOME/.criu/default.conf ,
the file that
.B CRIU_CONFIG_FILE
names, the file given by
.BR \-\-config ,
and the command line.
.B \-\-config
and
.B \-\-no\-default\-config
leave out the first two. A line holds one option without dashes and its value; # begins a comment; a value with blanks
stands in double quotes.
.SH ENVIRONMENT
.TP
.B CRIU_CONFIG_FILE
A configuration file.
.TP
.B CRIU_DEPRECATED
If set, as
.BR \-\-deprecated .
.TP
.B CRIU_LIBS_DIR
Folder of plugins, as
.BR \-\-libdir .
.TP
.BR CR_IP_TOOL ", " CR_IPTABLES ", " CRIU_PMC_OFF
Mean something to CRIU. Here no program is run for links and firewalls, and there is no such cache to switch off: they
have no effect. Nor is
.I /run/criu.kdat
read or written: what the kernel can do is asked anew.
.SH EXIT STATUS
0 on success, 1 on any error. A dump whose post\-dump script fails exits with the status of the script, restore with
.B \-\-exec\-cmd
with that of the command, and the removed commands exec and show with 255. swrk: 1 if the request failed, 255 if what came was none.
.SH SEE ALSO
.BR crit (1),
.BR libcriu (3),
.BR ptrace (2),
.BR capabilities (7)
)";

} // namespace

std::string short_usage() {
    std::string now;
    for (const CommandRow &row : command_table())
        if (row.support == Support::Now)
            now += fmt::format("{}{}", now.empty() ? "" : "|", row.name);
    return fmt::format("usage: criu {} [options]; criu --help lists them", now);
}

std::string full_help() {
    std::string out = "Usage:\n"
                      "  criu dump -t PID [options]\n"
                      "  criu restore [options]\n"
                      "  criu check [-t PID] [--feature NAME] [options]\n"
                      "  criu crit ACTION ...\n"
                      "\nCommands:\n";
    help_commands(out);
    for (Group group : kGroups)
        help_options(out, group);
    return out;
}

std::string help_of(std::string_view command) {
    const auto place = std::ranges::find(kPlaces, command, &std::pair<Where, std::string_view>::second);
    std::string out = "Usage:\n";
    help_commands(out, command);
    if (place != kPlaces.end()) // the others have a grammar of their own
        for (Group group : kGroups)
            help_options(out, group, place->first);
    out += "\ncriu --help lists the other commands, criu(8) says more.\n";
    return out;
}

std::string man_page() {
    std::string out = fmt::format(".\\\" Made from the option table by `criu --man-page`; do not edit.\n"
                                  ".TH CRIU 8 \"\" \"criu {}\" \"System Administration\"\n",
                                  kVersion);
    out += kManHead;
    man_commands(out);
    man_options(out);
    out += kManTail;
    return out;
}

std::string bash_completion() {
    std::string commands, options, files;
    for (const CommandRow &row : command_table())
        if (row.support == Support::Now)
            commands += fmt::format("{}{}", commands.empty() ? "" : " ", row.name);
    for (const OptionRow &row : option_table()) {
        if (row.support != Support::Now)
            continue;
        fmt::format_to(std::back_inserter(options), "{}--{}", options.empty() ? "" : " ", row.name);
        if (row.negatable)
            fmt::format_to(std::back_inserter(options), " --no-{}", row.name);
        if (row.metavar == "FILE" || row.metavar == "DIR" || row.metavar == "PATH")
            fmt::format_to(std::back_inserter(files), "{}--{}", files.empty() ? "" : "|", row.name);
    }
    return fmt::format(
        "# Made from the option table by `criu --bash-completion`; do not edit.\n"
        "_criu() {{\n"
        "    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}}\n"
        "    case $prev in\n"
        "    {}|-D|-W|-o|-r)\n"
        "        compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n"
        "    --feature)\n"
        "        COMPREPLY=($(compgen -W \"$(criu check --feature list 2>/dev/null)\" -- \"$cur\")); return ;;\n"
        "    esac\n"
        "    if [[ $cur == -* ]]; then\n"
        "        COMPREPLY=($(compgen -W \"{}\" -- \"$cur\"))\n"
        "    else\n"
        "        COMPREPLY=($(compgen -W \"{}\" -- \"$cur\"))\n"
        "    fi\n"
        "}}\n"
        "complete -F _criu criu\n",
        files, options, commands);
}

} // namespace cli
