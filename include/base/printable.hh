// Text that strangers may have written (names in images), fit for a terminal and for a log that is read by lines.
#pragma once

#include <string>
#include <string_view>

namespace base {

/// Control characters as \n or \xNN, so that a name can neither pretend to be a second message nor steer a terminal;
/// the middle of what is longer than `most` bytes is left out.
inline std::string printable(std::string_view text, size_t most = 4000) {
    constexpr const char *kDigits = "0123456789abcdef";
    std::string out;
    const bool cut = text.size() > most;
    const size_t head = cut ? most * 3 / 4 : text.size(), tail = cut ? text.size() - most / 4 : text.size();
    auto add = [&](std::string_view part) {
        for (char c : part) {
            const auto byte = static_cast<unsigned char>(c);
            if (c == '\n')
                out += "\\n";
            else if (byte < ' ' || byte == 0x7f)
                out += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
            else
                out += c;
        }
    };
    add(text.substr(0, head));
    if (cut)
        out += " [...] ";
    add(text.substr(tail));
    return out;
}

} // namespace base
