#include "criu/parse/cgroup_properties.hh"

#include "criu/parse/scan.hh"

namespace parse {
namespace {

/// A line, without spaces that are not inside of quotes: "cpu": becomes `"cpu":`.
std::string squeezed(std::string_view line) {
    std::string out;
    bool quoted = false;
    for (char c : line) {
        quoted ^= c == '"';
        if (quoted || (c != ' ' && c != '\t' && c != '\r'))
            out += c;
    }
    return out;
}

bool take_quoted(Scan &s, std::string &out) {
    if (!s.take('"'))
        return false;
    out = s.until('"');
    return s.take('"');
}

bool take_names(Scan &s, std::vector<std::string> &names) {
    if (!s.take('['))
        return false;
    if (s.take(']'))
        return true;
    do
        if (!take_quoted(s, names.emplace_back()))
            return false;
    while (s.take(','));
    return s.take(']');
}

/// `"strategy":"merge"` or `"properties":[..]`.
bool take_setting(Scan &s, CgroupProperties &into) {
    std::string key, value;
    if (!take_quoted(s, key) || !s.take(':'))
        return false;
    if (key == "properties")
        return take_names(s, into.names) && s.at_end();
    if (key != "strategy" || !take_quoted(s, value) || (value != "merge" && value != "replace"))
        return false;
    into.replaces = value == "replace";
    return s.at_end();
}

} // namespace

Result<std::vector<CgroupProperties>> parse_cgroup_properties(std::string_view text) {
    std::vector<CgroupProperties> out;
    Lines lines(text);
    for (std::string_view line; lines.next(line);) {
        const std::string words = squeezed(line);
        if (words.empty())
            continue;
        Scan s(words);
        bool right = false;
        if (s.take('-'))
            right = !out.empty() && take_setting(s, out.back());
        else
            right = take_quoted(s, out.emplace_back().controller) && s.take(':') && s.at_end();
        if (!right)
            return malformed("properties of control groups", lines.number(), line);
    }
    return out;
}

} // namespace parse
