#include "criu/crit/hints.hh"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>

namespace crit {
namespace {

constexpr NamedValue kProt[]{{"PROT_READ", 1}, {"PROT_WRITE", 2}, {"PROT_EXEC", 4}};

constexpr NamedValue kMap[]{{"MAP_SHARED", 1}, {"MAP_PRIVATE", 2}, {"MAP_ANON", 0x20}, {"MAP_GROWSDOWN", 0x100}};

constexpr NamedValue kVma[]{
    {"VMA_AREA_REGULAR", 0x1},    {"VMA_AREA_STACK", 0x2},       {"VMA_AREA_VSYSCALL", 0x4},
    {"VMA_AREA_VDSO", 0x8},       {"VMA_AREA_HEAP", 0x20},       {"VMA_FILE_PRIVATE", 0x40},
    {"VMA_FILE_SHARED", 0x80},    {"VMA_ANON_SHARED", 0x100},    {"VMA_ANON_PRIVATE", 0x200},
    {"VMA_AREA_SYSVIPC", 0x400},  {"VMA_AREA_SOCKET", 0x800},    {"VMA_AREA_VVAR", 0x1000},
    {"VMA_AREA_AIORING", 0x2000}, {"VMA_AREA_MEMFD", 0x4000},    {"VMA_AREA_SHSTK", 0x8000},
    {"VMA_AREA_GUARD", 0x10000},  {"VMA_AREA_UPROBES", 0x20000}, {"VMA_EXT_PLUGIN", 0x8000000},
    {"VMA_UNSUPP", 0x80000000},
};

constexpr NamedValue kPagemap[]{{"PE_PARENT", 1}, {"PE_LAZY", 2}, {"PE_PRESENT", 4}, {"PE_PAYLOAD_ALIGNED", 8}};

// x86 values of fcntl.h; sync and tmpfile are sets of bits that stay numbers.
constexpr NamedValue kOpen[]{
    {"O_WRONLY", 01},         {"O_RDWR", 02},          {"O_CREAT", 0100},       {"O_EXCL", 0200},
    {"O_NOCTTY", 0400},       {"O_TRUNC", 01000},      {"O_APPEND", 02000},     {"O_NONBLOCK", 04000},
    {"O_DSYNC", 010000},      {"FASYNC", 020000},      {"O_DIRECT", 040000},    {"O_LARGEFILE", 0100000},
    {"O_DIRECTORY", 0200000}, {"O_NOFOLLOW", 0400000}, {"O_NOATIME", 01000000}, {"O_CLOEXEC", 02000000},
};

constexpr NamedValue kSeals[]{
    {"F_SEAL_SEAL", 1}, {"F_SEAL_SHRINK", 2}, {"F_SEAL_GROW", 4}, {"F_SEAL_WRITE", 8}, {"F_SEAL_FUTURE_WRITE", 16}};

// crit has its own idea of these numbers: what images hold is 1, 2 (zombie), 3 (stopped).
constexpr NamedValue kTaskState[]{{"Alive", 1}, {"Zombie", 3}, {"Stopped", 6}};

constexpr NamedValue kFamily[]{{"UNIX", 1}, {"INET", 2}, {"INET6", 10}, {"NETLINK", 16}, {"PACKET", 17}};

constexpr NamedValue kType[]{{"STREAM", 1}, {"DGRAM", 2}, {"RAW", 3}, {"SEQPACKET", 5}, {"PACKET", 10}};

constexpr NamedValue kState[]{{"ESTABLISHED", 1}, {"SYN_SENT", 2},  {"SYN_RECV", 3}, {"FIN_WAIT1", 4},
                              {"FIN_WAIT2", 5},   {"TIME_WAIT", 6}, {"CLOSE", 7},    {"CLOSE_WAIT", 8},
                              {"LAST_ACK", 9},    {"LISTEN", 10}};

constexpr NamedValue kProto[]{{"IP", 0}, {"TCP", 6}, {"UDP", 17}, {"UDPLITE", 136}};

std::string_view trim(std::string_view s) {
    while (!s.empty() && s.front() == ' ')
        s.remove_prefix(1);
    while (!s.empty() && s.back() == ' ')
        s.remove_suffix(1);
    return s;
}

} // namespace

std::span<const NamedValue> flag_names(std::string_view set) {
    if (set == "mmap.prot")
        return kProt;
    if (set == "mmap.flags")
        return kMap;
    if (set == "mmap.status")
        return kVma;
    if (set == "pmap.flags")
        return kPagemap;
    if (set == "rfile.flags")
        return kOpen;
    if (set == "seals.flags")
        return kSeals;
    return {};
}

std::span<const NamedValue> dict_names(std::string_view dict, std::string_view field) {
    if (dict == "gen")
        return field == "task_state" ? std::span<const NamedValue>(kTaskState) : std::span<const NamedValue>();
    if (dict != "sk")
        return {};
    if (field == "family")
        return kFamily;
    if (field == "type")
        return kType;
    if (field == "state")
        return kState;
    if (field == "proto")
        return kProto;
    return {};
}

std::string flags_text(std::span<const NamedValue> names, uint64_t value) {
    std::string out;
    auto add = [&out](std::string_view word) {
        if (!out.empty())
            out += " | ";
        out += word;
    };
    for (const NamedValue &bit : names)
        if (value & bit.value) {
            add(bit.name);
            value &= ~bit.value;
        }
    if (value)
        add(fmt::format("{:#x}", value));
    return out;
}

std::optional<uint64_t> parse_flags(std::span<const NamedValue> names, std::string_view text) {
    uint64_t value = 0;
    while (!trim(text).empty()) {
        size_t bar = text.find('|');
        std::string_view word = trim(text.substr(0, bar));
        auto bits = value_of(names, word);
        if (!bits)
            bits = parse_number(word);
        if (!bits)
            return std::nullopt;
        value |= *bits;
        text = bar == std::string_view::npos ? std::string_view() : text.substr(bar + 1);
    }
    return value;
}

std::optional<std::string_view> name_of(std::span<const NamedValue> names, uint64_t value) {
    auto found = std::ranges::find(names, value, &NamedValue::value);
    return found == names.end() ? std::nullopt : std::optional(found->name);
}

std::optional<uint64_t> value_of(std::span<const NamedValue> names, std::string_view name) {
    auto found = std::ranges::find(names, name, &NamedValue::name);
    return found == names.end() ? std::nullopt : std::optional(found->value);
}

std::optional<uint64_t> parse_number(std::string_view text) {
    bool hex = text.starts_with("0x") || text.starts_with("0X");
    if (hex)
        text.remove_prefix(2);
    uint64_t value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, hex ? 16 : 10);
    if (error != std::errc() || end != text.data() + text.size())
        return std::nullopt;
    return value;
}

} // namespace crit
