// Walks through the entries of one image: head, then [length, message, payload] until the end. Nothing in the bytes is
// trusted: the head must be that of the kind, a length must fit the file and a sane limit, a message must be complete,
// a payload must lie in the file. Every error is a BadImage that names file and offset.
#pragma once

#include "base/result.hh"
#include "criu/image/byte_source.hh"
#include "criu/image/registry.hh"

#include <google/protobuf/message.h>
#include <optional>
#include <string>

namespace image {

inline constexpr uint32_t kMaxEntry = 64u << 20; ///< no honest message comes near it

/// Where an entry lies in its file.
struct EntryPlace {
    uint64_t offset = 0; ///< of the length word
    uint64_t payload_offset = 0;
    uint64_t payload_size = 0; ///< without padding
};

class EntryReader {
public:
    /// Reads the head. `source` must outlive the reader; `name` is for errors; the kind is found by its magic.
    static base::Result<EntryReader> open(ByteSource &source, std::string name);
    /// As above, for a file that must be of kind `expected`.
    static base::Result<EntryReader> open(ByteSource &source, std::string name, ImageKind expected);

    const ImageInfo &info() const { return *info_; }
    /// The type of the message that next() will read.
    const google::protobuf::Message &next_prototype() const;
    /// Reads one entry into `out`, which must have the type of next_prototype(). Nothing at the end of the file.
    base::Result<std::optional<EntryPlace>> next(google::protobuf::Message &out);
    /// The bytes behind a message.
    base::Result<std::vector<std::byte>> load_payload(const EntryPlace &place);

private:
    EntryReader(ByteSource &source, std::string name) : source_(&source), name_(std::move(name)) {}
    base::Result<uint32_t> read_u32(uint64_t offset);
    base::Result<void> read_head();
    base::Result<void> read_message(google::protobuf::Message &out, uint64_t at, uint32_t length);
    base::Error error_at(uint64_t offset, std::string text) const;
    base::Error error_at(uint64_t offset, base::Error cause) const;

    ByteSource *source_;
    std::string name_;
    const ImageInfo *info_ = nullptr;
    uint64_t offset_ = 0;
    bool first_ = true;
    bool ghost_chunks_ = false;
    std::vector<std::byte> buffer_; ///< of the message being parsed; kept, as pagemaps have a million
};

} // namespace image
