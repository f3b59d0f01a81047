#include "criu/image/entry_reader.hh"

#include "criu/image/payload.hh"
#include "ghost-file.pb.h"

#include <bit>
#include <cstring>
#include <fmt/format.h>
#include <vector>

namespace image {

static_assert(std::endian::native == std::endian::little, "images are little endian and read without conversion");

using google::protobuf::Message;

base::Error EntryReader::error_at(uint64_t offset, std::string text) const {
    return base::Error(base::ErrorKind::BadImage, fmt::format("{}: offset {}: {}", name_, offset, text));
}

base::Error EntryReader::error_at(uint64_t offset, base::Error cause) const {
    return std::move(cause.ctx(fmt::format("{}: offset {}", name_, offset)));
}

base::Result<EntryReader> EntryReader::open(ByteSource &source, std::string name) {
    EntryReader reader(source, std::move(name));
    TRY(reader.read_head());
    return reader;
}

base::Result<EntryReader> EntryReader::open(ByteSource &source, std::string name, ImageKind expected) {
    EntryReader reader(source, std::move(name));
    TRY(reader.read_head());
    const ImageInfo &wanted = image_info(expected);
    if (wanted.head == Head::Raw || reader.info_->magic != wanted.magic)
        return base::fail(
            reader.error_at(0, fmt::format("this is a {} image, expected {}", reader.info_->name, wanted.name)));
    reader.info_ = &wanted;
    return reader;
}

base::Result<uint32_t> EntryReader::read_u32(uint64_t offset) {
    uint32_t word = 0;
    if (auto done = source_->read(offset, std::as_writable_bytes(std::span(&word, 1))); !done)
        return base::fail(error_at(offset, std::move(done).error()));
    return word;
}

base::Result<void> EntryReader::read_head() {
    uint32_t word = TRY(read_u32(0));
    Head head = word == kCommonWord ? Head::Common : word == kServiceWord ? Head::Service : Head::Own;
    offset_ = 4;
    if (head != Head::Own) {
        word = TRY(read_u32(4));
        offset_ = 8;
    }
    info_ = find_image_by_magic(word);
    if (!info_)
        return base::fail(error_at(offset_ - 4, fmt::format("unknown magic {:#x}: not an image of entries", word)));
    // Images from before 2014 begin with the magic of their kind, without a word in front of it.
    if (info_->head != head && head != Head::Own)
        return base::fail(error_at(0, fmt::format("wrong first word for a {} image", info_->name)));
    return {};
}

const Message &EntryReader::next_prototype() const {
    if (ghost_chunks_)
        return img::ghost_chunk_entry::default_instance();
    return first_ && info_->first_entry ? info_->first_entry() : info_->entry();
}

base::Result<void> EntryReader::read_message(Message &out, uint64_t at, uint32_t length) {
    std::vector<std::byte> bytes(length);
    if (auto done = source_->read(at, bytes); !done)
        return base::fail(error_at(at, std::move(done).error()));
    if (!out.ParsePartialFromArray(bytes.data(), static_cast<int>(length)))
        return base::fail(error_at(at, fmt::format("not a valid {}", out.GetDescriptor()->name())));
    if (!out.IsInitialized())
        return base::fail(error_at(
            at, fmt::format("{} lacks the required {}", out.GetDescriptor()->name(), out.InitializationErrorString())));
    return {};
}

base::Result<std::optional<EntryPlace>> EntryReader::next(Message &out) {
    if (offset_ == source_->size())
        return std::nullopt;
    if (out.GetDescriptor() != next_prototype().GetDescriptor())
        return base::fail(base::ErrorKind::Bug,
                          fmt::format("{}: entries are {}, not {}", name_, next_prototype().GetDescriptor()->name(),
                                      out.GetDescriptor()->name()));
    EntryPlace place{.offset = offset_};
    uint32_t length = TRY(read_u32(offset_));
    uint64_t rest = source_->size() - offset_ - 4;
    if (length > kMaxEntry)
        return base::fail(error_at(offset_, fmt::format("absurd entry length {}", length)));
    if (length > rest)
        return base::fail(error_at(offset_, fmt::format("truncated: entry of {} bytes, {} left", length, rest)));
    TRY(read_message(out, offset_ + 4, length));
    place.payload_offset = offset_ + 4 + length;

    PayloadShape shape{};
    if (ghost_chunks_) {
        shape.size = shape.stored = static_cast<const img::ghost_chunk_entry &>(out).len();
    } else if (auto found = payload_shape(info_->payload, out, *source_, place.payload_offset)) {
        shape = *found;
    } else {
        return base::fail(error_at(place.payload_offset, std::move(found).error()));
    }
    if (shape.stored > source_->size() - place.payload_offset)
        return base::fail(
            error_at(place.payload_offset, fmt::format("truncated: payload of {} bytes, {} left", shape.size,
                                                       source_->size() - place.payload_offset)));
    place.payload_size = shape.size;
    offset_ = place.payload_offset + shape.stored;
    first_ = false;
    if (info_->payload == Payload::Ghost && !ghost_chunks_)
        ghost_chunks_ = static_cast<const img::ghost_file_entry &>(out).chunks();
    return place;
}

base::Result<std::vector<std::byte>> EntryReader::load_payload(const EntryPlace &place) {
    std::vector<std::byte> bytes(place.payload_size); // next() has compared it with the size of the file
    if (auto done = source_->read(place.payload_offset, bytes); !done)
        return base::fail(error_at(place.payload_offset, std::move(done).error()));
    return bytes;
}

} // namespace image
