// Into pagemap-N.img and pages-N.img of a directory, compressed by several threads.
//
// Whoever dumps hands pages over as they come; they are gathered into jobs of a few megabytes, a job goes to whichever
// thread is free, and its result to the place in the file that follows from the sizes of all jobs before it. Only the
// order of taking places is fixed: compressing and writing overlap.
#pragma once

#include "criu/pages/compression.hh"
#include "criu/pages/image_stream.hh"
#include "criu/pages/sink.hh"

namespace pages {

/// `stream`: takes the pages instead of the directory; may be null, and has to live longer.
std::unique_ptr<PageSink> compressing_sink(image::ImageDirWriter &images, const Compression &how,
                                           ImageStream *stream = nullptr);

} // namespace pages
