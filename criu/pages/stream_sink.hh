// Pagemaps into a directory in memory, pages into the stream as they are read.
#pragma once

#include "criu/pages/image_stream.hh"
#include "criu/pages/sink.hh"

namespace pages {

/// Both have to live longer.
std::unique_ptr<PageSink> stream_sink(image::ImageDirWriter &images, ImageStream &stream);

/// Of the file of pages the directory gets the size, and the few pages that are looked at before the images are on
/// their way: the vdso is among these.
bool stays_behind(const img::pagemap_entry &run, PageKind kind);
Result<void> leave_placeholder(image::ImageDirWriter &images, uint32_t pages_id, uint64_t size);

} // namespace pages
