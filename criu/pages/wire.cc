#include "criu/pages/wire.hh"

#include "base/ids.hh"

#include <cstring>
#include <fmt/format.h>
#include <utility>

namespace pages::wire {
namespace {

struct WideLayout {
    uint32_t word, padding;
    uint64_t pages, address, object;
};
struct NarrowLayout {
    uint32_t word, pages;
    uint64_t address, object;
};
static_assert(sizeof(WideLayout) == size_of(Form::Wide) && sizeof(NarrowLayout) == size_of(Form::Narrow));

template <class T> std::vector<std::byte> bytes_of(const T &layout) {
    const auto raw = std::as_bytes(std::span(&layout, 1));
    return {raw.begin(), raw.end()};
}

template <class T> T layout_of(std::span<const std::byte> bytes) {
    T layout{};
    std::memcpy(&layout, bytes.data(), std::min(bytes.size(), sizeof layout));
    return layout;
}

std::unexpected<base::Error> bad(std::string text) {
    return base::bad_image("page server: " + std::move(text));
}

bool is_run(const Message &message) {
    return message.is(Command::Add) || message.is(Command::Hole) || message.is(Command::AddFlagged) ||
           message.is(Command::AddCompressed) || message.is(Command::Get);
}

} // namespace

Message make(Command command, uint16_t flags, uint64_t pages, uint64_t address, uint64_t object) {
    return {static_cast<uint16_t>(command), flags, pages, address, object};
}

Result<std::vector<std::byte>> encode(const Message &message, Form form) {
    const uint32_t word = message.command | static_cast<uint32_t>(message.flags) << 16;
    if (form == Form::Wide)
        return bytes_of(WideLayout{word, 0, message.pages, message.address, message.object});
    if (!std::in_range<uint32_t>(message.pages))
        return base::unsupported(fmt::format("{} pages in one message to an old page server", message.pages));
    return bytes_of(NarrowLayout{word, static_cast<uint32_t>(message.pages), message.address, message.object});
}

Message decode(std::span<const std::byte> bytes, Form form) {
    auto from = [](uint32_t word, uint64_t pages, uint64_t address, uint64_t object) {
        return Message{static_cast<uint16_t>(word), static_cast<uint16_t>(word >> 16), pages, address, object};
    };
    if (form == Form::Wide) {
        const auto wide = layout_of<WideLayout>(bytes);
        return from(wide.word, wide.pages, wide.address, wide.object);
    }
    const auto narrow = layout_of<NarrowLayout>(bytes);
    return from(narrow.word, narrow.pages, narrow.address, narrow.object);
}

// The second word is a count in the narrow form and always zero in the wide one. Messages without a count have no
// address either: there the narrow form has the object where the wide one has that zero.
Form form_of(std::span<const std::byte, kSmallest> first) {
    const auto narrow = layout_of<NarrowLayout>(first);
    if (narrow.pages)
        return Form::Narrow;
    const Message message = decode(first, Form::Narrow);
    const bool asks = message.is(Command::Open) || message.is(Command::Open2) || message.is(Command::Parent);
    return asks && narrow.object ? Form::Narrow : Form::Wide;
}

uint64_t pack(Object object) {
    return object.id << 8 | static_cast<uint8_t>(object.type);
}

Result<Object> unpack(uint64_t packed) {
    const uint64_t id = packed >> 8;
    switch (packed & 0xff) {
    case 1:
    case 10:
    case 11:
    case 16:
    case 17:
        if (id == 0 || !std::in_range<int32_t>(id))
            return bad(fmt::format("{} is no pid", id));
        return Object{ObjectType::Task, id};
    case 2:
    case 27:
    case 28:
    case 29:
    case 32:
    case 33:
    case 34:
        return Object{ObjectType::SharedMemory, id};
    default:
        return bad(fmt::format("an object of the unknown type {}", packed & 0xff));
    }
}

Result<uint64_t> payload_pages(const Message &message) {
    if (!is_run(message))
        return 0;
    if (message.pages == 0)
        return bad(fmt::format("a run without pages at {:#x}", message.address));
    if (message.address % base::kPageSize || message.pages > (UINT64_MAX - message.address) / base::kPageSize)
        return bad(fmt::format("{} pages at {:#x} are no run of pages", message.pages, message.address));
    if (message.is(Command::Add))
        return message.pages;
    if (message.is(Command::Hole) || message.is(Command::Get))
        return 0;
    const uint16_t flags = message.flags;
    if (flags == 0 || flags & ~(kParent | kLazy | kPresent) || (flags & kParent && flags & kPresent))
        return bad(fmt::format("a run with the flags {:#x}", flags));
    return flags & kPresent ? message.pages : 0;
}

} // namespace pages::wire
