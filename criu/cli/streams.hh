// What stands in for the folder of images: a stream (-D -, -D FILE), or criu-image-streamer (--stream). Either way the
// engines see a folder, in memory and seen by nobody else.
#pragma once

#include "base/unique_fd.hh"
#include "criu/cli/options.hh"
#include "criu/engine/notifier.hh"
#include "criu/pages/image_stream.hh"

#include <memory>

namespace cli {

struct Folder {
    base::UniqueFd directory; ///< none where the images are in a folder of the user's
    std::shared_ptr<pages::ImageStream> stream;
    std::shared_ptr<image::Supplier> supplier;

    int fd(const Options &options) const { return directory ? directory.get() : options.images_dir_fd; }
};

/// Whether -D means no folder: standard output or input, or a file that holds a stream.
bool is_stream(const Options &options);

/// Where a dump or pre-dump writes. Errors: Usage for options that do not go together; System.
base::Result<Folder> folder_to_write(const Options &options, engine::Notifier &notifier);
/// What a restore reads: a stream has been read to its end, and is whole, when it returns.
/// `notifier`: null where nothing but -D can say so.
base::Result<Folder> folder_to_read(const Options &options, engine::Notifier *notifier = nullptr);

} // namespace cli
