#include "criu/resource/namespace/net/ruleset_text.hh"

#include <fmt/format.h>
#include <vector>

namespace resource::net {
namespace {

constexpr std::string_view kLock = "CRIU";

std::string_view trim(std::string_view line) {
    const size_t start = line.find_first_not_of(" \t");
    if (start == std::string_view::npos)
        return {};
    return line.substr(start, line.find_last_not_of(" \t\r") - start + 1);
}

std::vector<std::string_view> lines_of(std::string_view text) {
    std::vector<std::string_view> lines;
    while (!text.empty()) {
        const size_t end = std::min(text.find('\n'), text.size());
        lines.push_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return lines;
}

/// Without what stands between quotes and behind a comment sign.
std::string bare(std::string_view line) {
    std::string out;
    bool quoted = false;
    for (char c : line) {
        if (c == '"')
            quoted = !quoted;
        else if (c == '#' && !quoted)
            break;
        else if (!quoted)
            out += c;
    }
    return out;
}

bool has_word(std::string_view text, std::string_view word) {
    const auto part_of_word = [](char c) { return isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-'; };
    for (size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
        const size_t end = at + word.size();
        if ((at == 0 || !part_of_word(text[at - 1])) && (end == text.size() || !part_of_word(text[end])))
            return true;
    }
    return false;
}

int depth_change(std::string_view bare_line) {
    int change = 0;
    for (char c : bare_line)
        change += c == '{' ? 1 : c == '}' ? -1 : 0;
    return change;
}

struct Table {
    std::vector<std::string_view> lines; ///< from its head to its closing brace
    bool is_lock() const { return trim(lines.front()).starts_with("table inet CRIU-"); }
};

/// Lines of a table without the chain of the lock and the rules that lead to it.
std::vector<std::string_view> without_chain(const Table &table, bool &found) {
    std::vector<std::string_view> kept;
    int depth = 0;
    bool inside = false;
    for (std::string_view line : table.lines) {
        const std::string text = bare(line);
        if (depth == 1 && trim(text).starts_with("chain CRIU {"))
            inside = found = true;
        const bool jumps = has_word(text, "jump") && trim(text).ends_with(kLock) && has_word(text, kLock);
        depth += depth_change(text);
        if (!inside && !jumps)
            kept.push_back(line);
        if (inside && depth == 1)
            inside = false;
    }
    return kept;
}

/// Nothing but base chains that accept everything: what iptables makes to hang a jump into.
bool holds_nothing(const std::vector<std::string_view> &lines) {
    for (size_t i = 1; i + 1 < lines.size(); i++) {
        const std::string_view line = trim(lines[i]);
        const bool base = line.starts_with("type filter hook") && line.ends_with("policy accept;");
        if (!line.empty() && !line.starts_with("chain ") && line != "}" && !base)
            return false;
    }
    return true;
}

/// One line may open and close a table.
Result<std::vector<Table>> tables_of(std::string_view text) {
    std::vector<Table> tables;
    int depth = 0;
    for (std::string_view line : lines_of(text)) {
        const std::string plain = bare(line);
        if (has_word(plain, "include"))
            return base::bad_image("a ruleset that includes a file");
        if (depth == 0 && trim(plain).empty())
            continue;
        if (depth == 0) {
            if (!trim(plain).starts_with("table ") || !plain.contains('{'))
                return base::bad_image(
                    fmt::format("a ruleset with a line that is no table: {}", trim(line).substr(0, 60)));
            tables.emplace_back();
        }
        tables.back().lines.push_back(line);
        depth += depth_change(plain);
        if (depth < 0 || (depth == 0 && !trim(plain).ends_with('}')))
            return base::bad_image("a ruleset with more behind a table");
    }
    if (depth)
        return base::bad_image("a ruleset that ends inside of a table");
    return tables;
}

} // namespace

Result<std::string> ruleset_without_locks(std::string_view text) {
    std::string out;
    for (const Table &table : TRY(tables_of(text))) {
        if (table.is_lock())
            continue;
        bool locked = false;
        const auto kept = without_chain(table, locked);
        if (locked && holds_nothing(kept))
            continue;
        for (std::string_view line : kept)
            out.append(line).append("\n");
    }
    return out;
}

bool is_without_rules(std::string_view iptables_text) {
    for (std::string_view line : lines_of(iptables_text)) {
        line = trim(line);
        const bool rule = line.starts_with('-'), chain = line.starts_with(':');
        const bool lock = line.starts_with("-A CRIU ") || line.ends_with("-j CRIU") || line.starts_with(":CRIU ");
        if ((rule && !lock) || (chain && !lock && !line.contains(" ACCEPT ")))
            return false;
    }
    return true;
}

} // namespace resource::net
