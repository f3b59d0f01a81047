#include "criu/parse/igmp.hh"

#include "criu/parse/scan.hh"

#include <cstring>

namespace parse {
namespace {

/// "ff02...01", 32 digits.
bool scan_address6(std::string_view digits, std::array<uint8_t, 16> &address) {
    if (digits.size() != 2 * address.size())
        return false;
    for (size_t i = 0; i < address.size(); i++) {
        Scan s(digits.substr(2 * i, 2));
        if (!s.hex(address[i]) || !s.at_end())
            return false;
    }
    return true;
}

} // namespace

// Lines of interfaces begin with their number, those of their groups with tabs.
Result<std::vector<MulticastGroup>> parse_igmp(std::string_view text) {
    std::vector<MulticastGroup> groups;
    Lines lines(text);
    uint32_t interface = 0;
    for (std::string_view line; lines.next(line);) {
        Scan s(line);
        if (line.starts_with("Idx"))
            continue;
        if (!line.starts_with('\t')) {
            if (!s.dec(interface))
                return malformed("igmp", lines.number(), line);
            continue;
        }
        MulticastGroup group{.interface = interface};
        uint32_t word = 0; // the address as the machine reads it
        if (!(s.blanks() && s.hex(word) && s.blanks() && s.dec(group.users)))
            return malformed("igmp", lines.number(), line);
        memcpy(group.address.data(), &word, sizeof word);
        groups.push_back(group);
    }
    return groups;
}

Result<std::vector<MulticastGroup>> parse_igmp6(std::string_view text) {
    std::vector<MulticastGroup> groups;
    Lines lines(text);
    for (std::string_view line; lines.next(line);) {
        Scan s(line);
        MulticastGroup group;
        bool good = s.dec(group.interface) && s.blanks();
        s.word(); // the interface's name
        good = good && s.blanks() && scan_address6(s.word(), group.address) && s.blanks() && s.dec(group.users);
        if (!good)
            return malformed("igmp6", lines.number(), line);
        groups.push_back(group);
    }
    return groups;
}

} // namespace parse
