// Writing and reading the stream of images: see stream_format.hh.
#pragma once

#include "criu/pages/image_stream.hh"
#include "criu/pages/stream_io.hh"

#include <vector>

namespace pages {

/// `line` has to live longer. `key`: empty for a stream that is not encrypted. Errors: System.
Result<std::unique_ptr<ImageStream>> container_stream(stream::Line &line, std::span<const std::byte> key);

/// Reads a stream to its end into `directory`, which is empty. Nothing of it is trusted.
/// Errors: BadImage if it is damaged, ends too early, or the key is another one; Usage if it is encrypted and there is
/// no key, or the other way round; System(ENOSPC) where there is no memory for it.
Result<void> unpack_stream(stream::Line &line, std::span<const std::byte> key, int directory);

} // namespace pages
