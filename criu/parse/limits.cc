#include "criu/parse/limits.hh"

#include "criu/parse/scan.hh"

#include <bitset>

namespace parse {

namespace {

// In the order of RLIMIT_*, which is the order of lnames[] in fs/proc/base.c.
constexpr std::array<std::string_view, kLimitCount> kNames{
    "Max cpu time",       "Max file size",     "Max data size",         "Max stack size",
    "Max core file size", "Max resident set",  "Max processes",         "Max open files",
    "Max locked memory",  "Max address space", "Max file locks",        "Max pending signals",
    "Max msgqueue size",  "Max nice priority", "Max realtime priority", "Max realtime timeout"};

bool scan_value(Scan &s, uint64_t &out) {
    s.blanks();
    if (s.take("unlimited")) {
        out = ~uint64_t{0};
        return true;
    }
    return s.dec(out);
}

int scan_name(Scan &s) {
    for (size_t i = 0; i < kNames.size(); ++i)
        if (s.take(kNames[i]))
            return static_cast<int>(i);
    return -1;
}

} // namespace

Result<Limits> parse_limits(std::string_view text) {
    Limits out{};
    std::bitset<kLimitCount> seen;
    Lines lines(text);
    std::string_view line;
    lines.next(line); // heading
    while (lines.next(line)) {
        Scan s(line);
        int index = scan_name(s);
        if (index < 0)
            return malformed("limits", lines.number(), line);
        Limit &limit = out[static_cast<size_t>(index)];
        if (!scan_value(s, limit.soft) || !scan_value(s, limit.hard))
            return malformed("limits", lines.number(), line);
        seen.set(static_cast<size_t>(index));
    }
    if (!seen.all())
        return malformed("limits", lines.number(), "a limit is missing");
    return out;
}

} // namespace parse
