#include "criu/crit/text_codecs.hh"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <charconv>
#include <cstring>
#include <fmt/format.h>

namespace crit {
namespace {

constexpr std::string_view kBase64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr size_t kBase64Line = 57; // bytes that make 76 characters
constexpr size_t kQuotedLine = 76;

unsigned char byte_at(std::string_view s, size_t i) {
    return i < s.size() ? static_cast<unsigned char>(s[i]) : 0;
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool must_quote(std::string_view bytes, size_t i, size_t column) {
    unsigned char c = byte_at(bytes, i);
    bool last_on_line = i + 1 == bytes.size() || bytes[i + 1] == '\n';
    if (c == ' ' || c == '\t')
        return last_on_line;
    if (c == '.') // a line of one dot ends a mail
        return column == 0 && last_on_line;
    return c < 33 || c > 126 || c == '=';
}

std::array<uint16_t, 8> groups_of(std::span<const uint32_t> words) {
    std::array<uint16_t, 8> groups{};
    std::memcpy(groups.data(), words.data(), sizeof groups);
    for (uint16_t &group : groups)
        group = ntohs(group);
    return groups;
}

/// Without the dotted form that inet_ntop gives to mapped addresses: crit never had it.
std::string ipv6_text(std::span<const uint32_t> words) {
    auto groups = groups_of(words);
    size_t best = 8, best_length = 1; // a single zero group is not shortened
    for (size_t i = 0; i < 8; i++) {
        size_t n = 0;
        while (i + n < 8 && groups[i + n] == 0)
            n++;
        if (n > best_length)
            best = i, best_length = n;
    }
    std::string out;
    for (size_t i = 0; i < 8; i++) {
        if (i == best) {
            out += "::";
            i += best_length - 1;
            continue;
        }
        if (!out.empty() && out.back() != ':')
            out += ':';
        out += fmt::format("{:x}", groups[i]);
    }
    return out;
}

} // namespace

std::string base64_encode(std::string_view bytes) {
    std::string out;
    out.reserve(bytes.size() / kBase64Line * 77 + 80);
    for (size_t line = 0; line < bytes.size(); line += kBase64Line) {
        std::string_view part = bytes.substr(line, kBase64Line);
        for (size_t i = 0; i < part.size(); i += 3) {
            uint32_t group =
                uint32_t{byte_at(part, i)} << 16 | uint32_t{byte_at(part, i + 1)} << 8 | byte_at(part, i + 2);
            out += kBase64[group >> 18];
            out += kBase64[group >> 12 & 63];
            out += i + 1 < part.size() ? kBase64[group >> 6 & 63] : '=';
            out += i + 2 < part.size() ? kBase64[group & 63] : '=';
        }
        out += '\n';
    }
    return out;
}

base::Result<std::string> base64_decode(std::string_view text) {
    std::string out;
    uint32_t group = 0;
    size_t digits = 0, pads = 0;
    for (char c : text) {
        if (c == '\n' || c == '\r' || c == ' ' || c == '\t')
            continue;
        size_t value = c == '=' ? 0 : kBase64.find(c);
        pads += c == '=';
        if (value == std::string_view::npos || (pads > 0 && c != '='))
            return base::fail(base::ErrorKind::Usage, "bad base64");
        group = group << 6 | static_cast<uint32_t>(value);
        if (++digits % 4 == 0) {
            out += static_cast<char>(group >> 16);
            out += static_cast<char>(group >> 8);
            out += static_cast<char>(group);
        }
    }
    if (digits % 4 != 0 || pads > 2 || (pads && digits < 4))
        return base::fail(base::ErrorKind::Usage, "bad base64");
    out.resize(out.size() - pads);
    return out;
}

std::string quoted_printable_encode(std::string_view bytes) {
    std::string out;
    size_t column = 0;
    auto soft_break = [&] {
        out += "=\n";
        column = 0;
    };
    for (size_t i = 0; i < bytes.size(); i++) {
        if (bytes[i] == '\n') {
            out += '\n';
            column = 0;
        } else if (must_quote(bytes, i, column)) {
            if (column + 3 >= kQuotedLine)
                soft_break();
            out += fmt::format("={:02X}", byte_at(bytes, i));
            column += 3;
        } else {
            bool more = i + 1 < bytes.size() && bytes[i + 1] != '\n';
            if (more && column + 1 >= kQuotedLine)
                soft_break();
            out += bytes[i];
            column++;
        }
    }
    return out;
}

std::string quoted_printable_decode(std::string_view text) {
    std::string out;
    for (size_t i = 0; i < text.size(); i++) {
        if (text[i] != '=') {
            out += text[i];
            continue;
        }
        if (byte_at(text, i + 1) == '\n') {
            i++;
        } else if (byte_at(text, i + 1) == '\r' && byte_at(text, i + 2) == '\n') {
            i += 2;
        } else if (i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0) {
            out += static_cast<char>(hex_digit(text[i + 1]) << 4 | hex_digit(text[i + 2]));
            i += 2;
        } else {
            out += '='; // not an escape: stands for itself
        }
    }
    return out;
}

std::string device_text(uint32_t dev, DevForm form) {
    if (form == DevForm::Kernel)
        return fmt::format("{}:{}", dev >> 20, dev & 0xfffff);
    return fmt::format("{}:{}", dev >> 8 & 0xfff, (dev & 0xff) | (dev >> 12 & 0xfff00));
}

base::Result<uint32_t> parse_device(std::string_view text, DevForm form) {
    uint32_t major = 0, minor = 0;
    const char *end = text.data() + text.size();
    auto first = std::from_chars(text.data(), end, major);
    bool good = first.ec == std::errc() && first.ptr != end && *first.ptr == ':';
    if (good) {
        auto second = std::from_chars(first.ptr + 1, end, minor);
        good = second.ec == std::errc() && second.ptr == end && major <= 0xfff && minor <= 0xfffff;
    }
    if (!good)
        return base::fail(base::ErrorKind::Usage, fmt::format("'{}' is not a device number major:minor", text));
    if (form == DevForm::Kernel)
        return major << 20 | minor;
    return (minor & 0xff) | major << 8 | (minor & 0xfff00) << 12;
}

std::string address_text(std::span<const uint32_t> words) {
    if (words.size() == 4)
        return ipv6_text(words);
    char text[INET_ADDRSTRLEN];
    if (words.size() != 1 || !inet_ntop(AF_INET, words.data(), text, sizeof text))
        return {};
    return text;
}

base::Result<std::vector<uint32_t>> parse_address(const std::string &text) {
    std::vector<uint32_t> words(4);
    if (inet_pton(AF_INET6, text.c_str(), words.data()) == 1)
        return words;
    words.resize(1);
    if (inet_pton(AF_INET, text.c_str(), words.data()) == 1)
        return words;
    return base::fail(base::ErrorKind::Usage, fmt::format("'{}' is not an address", text));
}

bool is_utf8(std::string_view bytes) {
    for (size_t i = 0; i < bytes.size();) {
        unsigned char c = byte_at(bytes, i);
        size_t length = c < 0x80 ? 1 : c >> 5 == 6 ? 2 : c >> 4 == 14 ? 3 : c >> 3 == 30 ? 4 : 0;
        if (length == 0 || length > bytes.size() - i)
            return false;
        uint32_t code = length == 1 ? c : c & (0x7fu >> length);
        for (size_t k = 1; k < length; k++) {
            if ((byte_at(bytes, i + k) & 0xc0) != 0x80)
                return false;
            code = code << 6 | (byte_at(bytes, i + k) & 0x3f);
        }
        constexpr uint32_t kSmallest[]{0, 0, 0x80, 0x800, 0x10000};
        if (code < kSmallest[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
            return false;
        i += length;
    }
    return true;
}

} // namespace crit
