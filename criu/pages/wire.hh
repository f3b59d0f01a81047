// Messages of the page server: what a dump sends to it, and what a lazy restore asks it for. Pure: bytes in, values
// out.
//
// A message is 32 bytes in host byte order; up to CRIU 4.1 it was 24, with a page count of 32 bits. Neither says which
// it is, but the first one of a connection tells by where its zeroes lie. Pages follow a message as they are.
#pragma once

#include "base/result.hh"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace pages::wire {

using base::Result;

enum class Form : uint8_t {
    Wide,   ///< 32 bytes
    Narrow, ///< 24 bytes
};

/// Low half of the first word.
enum class Command : uint16_t {
    Add = 1,        ///< a present run; its pages follow
    Hole = 2,       ///< a run of the parent's
    Open = 3,       ///< what comes is of this object
    Open2 = 4,      ///< as Open; answered by one byte: has the server's parent directory this object
    Parent = 5,     ///< answered by 32 bits: the same question
    AddFlagged = 6, ///< a run with flags; its pages follow if it is present
    Get = 7,        ///< asks for pages of a process; answered by AddFlagged
    /// As AddFlagged, but of each page first its size, 32 bits: 0 for zeroes, that of the page for bytes as they are,
    /// else a block of LZ4.
    AddCompressed = 8,
    Close = 0x1023, ///< no more; answered by 32 bits of status once everything is written
    ForceClose = 0x1024,
};

/// High half of the first word: flags of a pagemap entry, of which these may be on the wire.
inline constexpr uint16_t kParent = 1, kLazy = 2, kPresent = 4;

enum class ObjectType : uint8_t { Task = 1, SharedMemory = 2 };

/// Whose memory: a process by its pid in the images, a shared memory object by its id.
struct Object {
    ObjectType type = ObjectType::Task;
    uint64_t id = 0;
    bool operator==(const Object &) const = default;
};

struct Message {
    uint16_t command = 0; ///< as it came: it may be none of Command
    uint16_t flags = 0;
    uint64_t pages = 0;
    uint64_t address = 0;
    uint64_t object = 0; ///< packed, but in Get a bare pid

    bool is(Command wanted) const { return command == static_cast<uint16_t>(wanted); }
    bool operator==(const Message &) const = default;
};

constexpr size_t size_of(Form form) {
    return form == Form::Wide ? 32 : 24;
}
inline constexpr size_t kLargest = 32, kSmallest = 24;

Message make(Command command, uint16_t flags = 0, uint64_t pages = 0, uint64_t address = 0, uint64_t object = 0);

/// Errors: Unsupported if the form has no room for the number of pages.
Result<std::vector<std::byte>> encode(const Message &message, Form form);
/// `bytes`: as many as the form has.
Message decode(std::span<const std::byte> bytes, Form form);
/// From the first 24 bytes of a connection.
Form form_of(std::span<const std::byte, kSmallest> first);

uint64_t pack(Object object);
/// Also types of older senders. Errors: BadImage for a type that nobody sends, and an id that no image can have.
Result<Object> unpack(uint64_t packed);

/// Pages that follow a message, which may be of any kind. Errors: BadImage for flags that mean nothing, a run without
/// pages, an address that is not a page's, a run that leaves the address space.
Result<uint64_t> payload_pages(const Message &message);

} // namespace pages::wire
