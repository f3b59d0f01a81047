#include "criu/cli/supported.hh"

#include "criu/resource/file/file.hh"
#include "criu/resource/resource.hh"

#include <fmt/format.h>
#include <iterator>

namespace cli {
namespace {

constexpr const char *kHead = R"(<!-- Made from the tables of the code by scripts/update-generated; do not edit. -->
# What is kept

Of every kind of descriptor: what a dump saves, how it comes back, and what is refused or lost. What no row takes is
refused by name: `criu check --tree PID` tells before a dump. Sharing between tasks, numbers and close-on-exec are kept
for all kinds.

## Open files

| kind | in images | saved | restored | limits |
|---|---|---|---|---|
)";

constexpr const char *kTail = R"(
Memory, namespaces and the rest: [limits.md](limits.md#what-works).
)";

std::string cell(const char *text, const char *otherwise) {
    return text ? text : otherwise;
}

void add_row(std::string &page, const resource::FileKind &kind) {
    const bool refused = !kind.open && !kind.open_late;
    const std::string type = refused ? "-" : fmt::format("`{}`", img::fd_types_Name(kind.type));
    fmt::format_to(std::back_inserter(page), "| {} | {} | {} | {} | {} |\n", kind.name, type,
                   cell(kind.about.saved, "?"), refused ? "-" : cell(kind.about.restored, "as it was"),
                   cell(kind.about.limits, "-"));
}

std::string names(const char *head, const auto &resources) {
    std::string line;
    for (const auto *resource : resources)
        line += fmt::format("{}{}", line.empty() ? "" : ", ", resource->name);
    return fmt::format("{}: {}.\n", head, line);
}

} // namespace

std::string supported_kinds() {
    std::string page = kHead;
    for (const resource::FileKind *kind : resource::file_kinds())
        add_row(page, *kind);
    page += "\n## Tasks\n\n";
    page += names("Of a process", resource::task_resources()) + names("Of every thread", resource::thread_resources());
    return page + kTail;
}

} // namespace cli
