#include "criu/service/request_text.hh"

#include "base/printable.hh"

#include <algorithm>

namespace service {
namespace {

bool continues(char c) {
    return (static_cast<unsigned char>(c) & 0xc0) == 0x80;
}

/// How many bytes the character at the beginning takes; 0 for what is no UTF-8.
size_t character(std::string_view text) {
    const auto first = static_cast<unsigned char>(text.front());
    const size_t size = first < 0x80                    ? 1
                        : first >= 0xc2 && first < 0xe0 ? 2
                        : (first & 0xf0) == 0xe0        ? 3
                        : first >= 0xf0 && first < 0xf5 ? 4
                                                        : 0;
    return size && text.size() >= size && std::ranges::all_of(text.substr(1, size - 1), continues) ? size : 0;
}

/// At most `most` bytes of whole characters, with a question mark for what is none: names may be any bytes.
std::string as_utf8(std::string_view text, size_t most) {
    std::string out;
    while (!text.empty()) {
        const size_t size = character(text);
        if (out.size() + std::max<size_t>(size, 1) > most)
            break;
        out += size ? text.substr(0, size) : "?";
        text.remove_prefix(std::max<size_t>(size, 1));
    }
    return out;
}

} // namespace

Result<img::criu_req> parse_request(std::string_view bytes) {
    img::criu_req request;
    const bool parsed = request.ParsePartialFromArray(bytes.data(), static_cast<int>(bytes.size()));
    if (!parsed || !request.IsInitialized())
        return base::bad_image("what has come is no request, or one of an unknown type");
    return request;
}

std::string to_message(const base::Error &error) {
    constexpr size_t kRest = 256; // of an answer: everything but this text
    std::string text = base::printable(error.message());
    if (!error.hint().empty())
        text += "\n" + base::printable(error.hint());
    return as_utf8(text, kLargestAnswer - kRest);
}

} // namespace service
