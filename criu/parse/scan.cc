#include "criu/parse/scan.hh"

#include "criu/parse/result.hh"

namespace parse {

namespace {

/// The byte that `\ooo` at the front of `text` stands for, or -1.
int escaped_byte(std::string_view text) {
    if (text.size() < 4 || text[0] != '\\')
        return -1;
    int value = 0;
    for (size_t i = 1; i < 4; ++i) {
        if (text[i] < '0' || text[i] > '7')
            return -1;
        value = value * 8 + (text[i] - '0');
    }
    return value <= 0xff ? value : -1;
}

} // namespace

std::string unescape_octal(std::string_view text, char only) {
    if (text.find('\\') == std::string_view::npos)
        return std::string(text);
    std::string out;
    out.reserve(text.size());
    for (size_t i = 0; i < text.size();) {
        int byte = escaped_byte(text.substr(i));
        bool take = byte >= 0 && (only == '\0' || static_cast<char>(byte) == only);
        out.push_back(take ? static_cast<char>(byte) : text[i]);
        i += take ? 4 : 1;
    }
    return out;
}

std::unexpected<base::Error> malformed(std::string_view file, size_t line, std::string_view text) {
    constexpr size_t kShown = 120;
    std::string shown(text.substr(0, kShown));
    for (char &c : shown)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
            c = '?';
    return base::fail(base::ErrorKind::Unsupported,
                      std::string(file) + ": line " + std::to_string(line) + " cannot be understood: '" + shown + "'");
}

} // namespace parse
