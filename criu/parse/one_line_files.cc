#include "criu/parse/one_line_files.hh"

#include "criu/parse/scan.hh"

#include <cstring>

namespace parse {

namespace {

/// Nothing but at most one newline is left.
bool ends(Scan &s) {
    s.blanks();
    s.take('\n');
    return s.at_end();
}

} // namespace

Result<TimensOffsets> parse_timens_offsets(std::string_view text) {
    TimensOffsets out;
    Lines lines(text);
    for (std::string_view line; lines.next(line);) {
        Scan s(line);
        std::string_view clock = s.word();
        int64_t sec = 0, nsec = 0;
        if (!(s.blanks() && s.dec(sec) && s.blanks() && s.dec(nsec)))
            return malformed("timens_offsets", lines.number(), line);
        if (clock == "monotonic") {
            out.monotonic_sec = sec;
            out.monotonic_nsec = nsec;
        } else if (clock == "boottime") {
            out.boottime_sec = sec;
            out.boottime_nsec = nsec;
        } else {
            return malformed("timens_offsets", lines.number(), line);
        }
    }
    return out;
}

Result<std::vector<base::IdExtent>> parse_id_map(std::string_view text) {
    std::vector<base::IdExtent> extents;
    Lines lines(text);
    for (std::string_view line; lines.next(line);) {
        Scan s(line);
        base::IdExtent extent;
        s.blanks();
        if (!(s.dec(extent.first) && s.blanks() && s.dec(extent.lower) && s.blanks() && s.dec(extent.count)))
            return malformed("id map", lines.number(), line);
        extents.push_back(extent);
    }
    return extents;
}

Result<Autogroup> parse_autogroup(std::string_view text) {
    Autogroup out;
    Scan s(text);
    if (!(s.take("/autogroup-") && s.dec(out.id) && s.take(" nice ") && s.dec(out.nice) && ends(s)))
        return malformed("autogroup", 1, text);
    return out;
}

Result<SyscallInfo> parse_syscall(std::string_view text) {
    SyscallInfo out;
    Scan s(text);
    if (s.take("running")) {
        out.running = true;
        return out;
    }
    auto hex = [&](uint64_t &value) { return s.take(" 0x") && s.hex(value); };
    bool ok = s.dec(out.nr);
    if (out.nr >= 0)
        for (uint64_t &arg : out.args)
            ok = ok && hex(arg);
    if (!(ok && hex(out.sp) && hex(out.pc) && ends(s)))
        return malformed("syscall", 1, text);
    return out;
}

Result<std::vector<uint64_t>> parse_auxv(std::string_view bytes) {
    constexpr size_t kPair = 2 * sizeof(uint64_t);
    if (bytes.size() % kPair != 0)
        return base::fail(base::ErrorKind::Unsupported,
                          "auxv: size " + std::to_string(bytes.size()) + " is no whole number of pairs");
    std::vector<uint64_t> out;
    for (size_t at = 0; at < bytes.size(); at += kPair) {
        uint64_t pair[2];
        std::memcpy(pair, bytes.data() + at, kPair);
        out.insert(out.end(), pair, pair + 2);
        if (pair[0] == 0)
            break;
    }
    return out;
}

Result<int64_t> parse_number(std::string_view text) {
    int64_t out = 0;
    Scan s(text);
    if (!(s.blanks() && s.dec(out) && ends(s)))
        return malformed("number", 1, text);
    return out;
}

Result<uint64_t> parse_hex_number(std::string_view text) {
    uint64_t out = 0;
    Scan s(text);
    s.blanks();
    s.take("0x");
    if (!(s.hex(out) && ends(s)))
        return malformed("number", 1, text);
    return out;
}

Result<std::vector<int32_t>> parse_pid_list(std::string_view text) {
    std::vector<int32_t> out;
    Scan s(text);
    for (s.blanks(); !s.at_end() && s.rest() != "\n"; s.blanks())
        if (!s.dec(out.emplace_back()))
            return malformed("children", 1, text);
    return out;
}

} // namespace parse
