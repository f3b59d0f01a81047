#include "criu/crit/json_text.hh"

#include <fmt/format.h>
#include <iterator>
#include <nlohmann/json.hpp>

namespace crit {
namespace {

struct Writer {
    std::string out;
    JsonForm form;

    void line(int depth) {
        if (form == JsonForm::Pretty) {
            out += '\n';
            out.append(static_cast<size_t>(depth) * 4, ' ');
        }
    }
    void comma() { out += form == JsonForm::Pretty ? "," : ", "; }

    void escape(uint32_t code) { fmt::format_to(std::back_inserter(out), "\\u{:04x}", code); }

    void text(const std::string &s);
    void array(const Json &value, int depth);
    void object(const Json &value, int depth);
    void any(const Json &value, int depth);
};

/// The code point that starts at `i`, which is moved to its last byte.
uint32_t code_point(const std::string &s, size_t &i) {
    auto c = static_cast<unsigned char>(s[i]);
    int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
    uint32_t code = c & (0x3fu >> more);
    while (more-- > 0 && i + 1 < s.size())
        code = code << 6 | (static_cast<unsigned char>(s[++i]) & 0x3f);
    return code;
}

void Writer::text(const std::string &s) {
    out += '"';
    for (size_t i = 0; i < s.size(); i++) {
        constexpr std::string_view kNamed = "\"\\\b\f\n\r\t", kLetters = "\"\\bfnrt";
        char c = s[i];
        if (size_t named = kNamed.find(c); named != std::string_view::npos) {
            out += '\\';
            out += kLetters[named];
        } else if (c >= 0x20) { // char is signed: bytes from 0x80 on are negative
            out += c;
        } else if (c >= 0) {
            escape(static_cast<uint32_t>(c));
        } else if (uint32_t code = code_point(s, i); code < 0x10000) {
            escape(code);
        } else {
            escape(0xd800 + ((code - 0x10000) >> 10));
            escape(0xdc00 + ((code - 0x10000) & 0x3ff));
        }
    }
    out += '"';
}

void Writer::array(const Json &value, int depth) {
    out += '[';
    bool first = true;
    for (const Json &item : value) {
        if (!first)
            comma();
        first = false;
        line(depth + 1);
        any(item, depth + 1);
    }
    line(depth);
    out += ']';
}

void Writer::object(const Json &value, int depth) {
    out += '{';
    bool first = true;
    for (const auto &[key, item] : value.items()) {
        if (!first)
            comma();
        first = false;
        line(depth + 1);
        text(key);
        out += ": ";
        any(item, depth + 1);
    }
    line(depth);
    out += '}';
}

void Writer::any(const Json &value, int depth) {
    if (value.is_string())
        text(value.get_ref<const std::string &>());
    else if (value.is_structured() && value.empty())
        out += value.is_array() ? "[]" : "{}";
    else if (value.is_array())
        array(value, depth);
    else if (value.is_object())
        object(value, depth);
    else
        out += value.dump(); // numbers, booleans, null
}

} // namespace

std::string json_text(const Json &value, JsonForm form) {
    Writer writer{{}, form};
    writer.any(value, 0);
    return std::move(writer.out);
}

} // namespace crit
