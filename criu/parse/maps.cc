#include "criu/parse/maps.hh"

#include "criu/parse/scan.hh"

#include <algorithm>
#include <array>
#include <iterator>
#include <sys/mman.h>

namespace parse {

namespace {

constexpr std::string_view kDeleted = " (deleted)";
constexpr uint64_t kMinPage = 4096;

// In the order of VmFlag.
constexpr std::array<std::string_view, 40> kFlagCodes{"rd", "wr", "ex", "sh", "mr", "mw", "me", "ms", "gd", "pf",
                                                      "dw", "lo", "io", "sr", "rr", "dc", "de", "lf", "ac", "nr",
                                                      "ht", "sf", "nl", "ar", "wf", "dd", "sd", "mm", "hg", "nh",
                                                      "mg", "bt", "mt", "um", "uw", "ui", "ss", "sl", "dp", "gu"};
static_assert(kFlagCodes.size() == static_cast<size_t>(VmFlag::Gu) + 1);

constexpr size_t kLetters = 26;

/// Where a code of two lower-case letters stands in a table of all of them.
constexpr size_t code_slot(std::string_view code) {
    auto letter = [](char c) { return static_cast<size_t>(c - 'a'); };
    return letter(code[0]) * kLetters + letter(code[1]);
}

/// Index by both letters, so that 50000 lines of flags cost nothing.
constexpr auto kFlagIndex = [] {
    std::array<int8_t, kLetters * kLetters> index{};
    index.fill(-1);
    for (size_t i = 0; i < kFlagCodes.size(); ++i)
        index[code_slot(kFlagCodes[i])] = static_cast<int8_t>(i);
    return index;
}();

int flag_index(std::string_view code) {
    auto letter = [](char c) { return c >= 'a' && c <= 'z'; };
    if (code.size() != 2 || !letter(code[0]) || !letter(code[1]))
        return -1;
    return kFlagIndex[code_slot(code)];
}

bool scan_perms(Scan &s, Vma &vma) {
    std::string_view perms = s.word();
    if (perms.size() != 4)
        return false;
    auto bit = [](char c, char on, uint32_t value, uint32_t &out) {
        if (c == on)
            out |= value;
        return c == on || c == '-';
    };
    vma.shared = perms[3] == 's';
    return bit(perms[0], 'r', PROT_READ, vma.prot) && bit(perms[1], 'w', PROT_WRITE, vma.prot) &&
           bit(perms[2], 'x', PROT_EXEC, vma.prot) && (perms[3] == 's' || perms[3] == 'p');
}

/// "7f00-7f01 rw-p 00000000 fe:00 247498      /usr/bin/head"
bool scan_head(std::string_view line, Vma &vma) {
    Scan s(line);
    if (!(s.hex(vma.start) && s.take('-') && s.hex(vma.end) && s.take(' ') && scan_perms(s, vma) && s.take(' ') &&
          s.hex(vma.pgoff) && s.take(' ') && s.hex(vma.dev_major) && s.take(':') && s.hex(vma.dev_minor) &&
          s.take(' ') && s.dec(vma.inode)))
        return false;
    // A name may itself begin or end with blanks: the padding ends at a fixed column (73, or one blank if the line is
    // already longer), but no name the kernel prints begins with a blank, only paths and [names] do.
    s.blanks();
    vma.name = unescape_octal(s.rest(), '\n');
    vma.deleted = vma.name.ends_with(kDeleted);
    return vma.start < vma.end && vma.start % kMinPage == 0 && vma.end % kMinPage == 0;
}

void scan_flags(Scan &s, Vma &vma) {
    for (s.blanks(); !s.at_end(); s.blanks()) {
        std::string_view code = s.word();
        if (int index = flag_index(code); index >= 0) {
            vma.flags.set(static_cast<VmFlag>(index));
        } else if (code == "??" && vma.flags.has(VmFlag::Lo)) {
            vma.flags.set(VmFlag::Lf); // kernels before 6.6 have no letters for it, and this is its place
        } else {
            if (!vma.unknown_flags.empty())
                vma.unknown_flags += ' ';
            vma.unknown_flags += code;
        }
    }
}

bool scan_kb(Scan &s, uint64_t &bytes) {
    uint64_t kb = 0;
    if (!(s.blanks() && s.dec(kb) && s.blanks() && s.take("kB")) || kb > (UINT64_MAX >> 10))
        return false;
    bytes = kb << 10;
    return true;
}

/// A "Key: value" line; keys this program does not need are passed over.
bool scan_detail(std::string_view line, Vma &vma) {
    vma.has_smaps = true;
    Scan s(line);
    std::string_view key = s.until(':');
    if (!s.take(':'))
        return false;
    if (key == "VmFlags") {
        scan_flags(s, vma);
        return true;
    }
    if (key == "ProtectionKey")
        return s.blanks() && s.dec(vma.protection_key);
    if (key == "Rss")
        return scan_kb(s, vma.rss_bytes);
    if (key == "Anonymous")
        return scan_kb(s, vma.anon_bytes);
    if (key == "AnonHugePages")
        return scan_kb(s, vma.anon_huge_bytes);
    if (key == "Swap")
        return scan_kb(s, vma.swap_bytes);
    if (key == "Locked")
        return scan_kb(s, vma.locked_bytes);
    if (key == "KernelPageSize")
        return scan_kb(s, vma.kernel_page_size);
    return true;
}

bool is_head(std::string_view line) {
    // Detail lines begin with an upper case letter; heads with a lower case hexadecimal digit.
    return !line.empty() && ((line[0] >= '0' && line[0] <= '9') || (line[0] >= 'a' && line[0] <= 'f'));
}

Result<std::vector<Vma>> parse_lines(std::string_view file, std::string_view text, bool details) {
    std::vector<Vma> out;
    if (!details)
        out.reserve(static_cast<size_t>(std::ranges::count(text, '\n')) + 1);
    Lines lines(text);
    for (std::string_view line; lines.next(line);) {
        if (is_head(line)) {
            uint64_t floor = out.empty() ? 0 : out.back().end;
            if (!scan_head(line, out.emplace_back()) || out.back().start < floor)
                return malformed(file, lines.number(), line);
        } else if (!details || out.empty() || !scan_detail(line, out.back())) {
            return malformed(file, lines.number(), line);
        }
    }
    return out;
}

} // namespace

Result<std::vector<Vma>> parse_maps(std::string_view text) {
    return parse_lines("maps", text, false);
}

Result<std::vector<Vma>> parse_smaps(std::string_view text) {
    return parse_lines("smaps", text, true);
}

} // namespace parse
