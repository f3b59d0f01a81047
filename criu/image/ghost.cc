#include "criu/image/ghost.hh"

#include "criu/image/image_dir.hh"

#include <fmt/format.h>

namespace image {

base::Result<std::optional<GhostImage>> ImageDir::read_ghost(uint64_t id) const {
    auto image = TRY(open_entries(ImageKind::GhostFile, id));
    if (!image)
        return std::nullopt;
    GhostImage ghost;
    std::string name = image_file_name(ImageKind::GhostFile, id);
    auto head = TRY(image->reader.next(ghost.entry));
    if (!head)
        return base::bad_image(name + ": offset 8: truncated: no entry");
    if (!ghost.entry.chunks()) {
        if (head->payload_size)
            ghost.pieces.push_back({0, head->payload_size, head->payload_offset});
    } else {
        img::ghost_chunk_entry chunk;
        while (auto place = TRY(image->reader.next(chunk))) {
            if (chunk.off() > static_cast<uint64_t>(INT64_MAX) - chunk.len())
                return base::bad_image(
                    fmt::format("{}: offset {}: absurd position {}", name, place->offset, chunk.off()));
            ghost.pieces.push_back({chunk.off(), chunk.len(), place->payload_offset});
        }
    }
    ghost.file = image->source->take_file();
    return ghost;
}

} // namespace image
