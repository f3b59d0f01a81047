// Who fetches images for tasks that may not open them: those of a user namespace are nobody to the files of the one around
// it. A process that stays what the tool is opens the files of one directory for them, by name.
#pragma once

#include "base/unique_fd.hh"
#include "base/result.hh"
#include "criu/image/image_dir.hh"

namespace restore {

using base::Result;

/// Lives as long as somebody holds an end of its line: the tool, and its tasks until they have let go of what is ours.
class ImagePorter {
public:
    ImagePorter() = default;
    /// Before the first task, which inherits the line; from then on `images` asks it where a file is denied.
    static Result<ImagePorter> start(image::ImageDir &images);

private:
    base::UniqueFd line_;
};

} // namespace restore
