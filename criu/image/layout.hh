// The two layouts of a checkpoint. `current` keeps credentials and signal actions inside core and all open files in
// files.img. `split`, of 2015, has an image of its own for each. The engines speak only `current`; this file converts.
//
// What the split layout has no image for (memfds) stays in files.img: readers of either layout accept mixtures.
#pragma once

#include "base/result.hh"
#include "criu/image/registry.hh"
#include "fdinfo.pb.h"

#include <optional>
#include <span>

namespace img {
class core_entry;
class creds_entry;
} // namespace img

namespace image {

enum class Layout { Current, Split };

/// A kind of open file that has an image of its own in the split layout.
struct SplitFileKind {
    img::fd_types type;
    int field; ///< number of the member of file_entry that holds its message
    ImageKind kind;
};
std::span<const SplitFileKind> split_file_kinds();
const SplitFileKind *find_split_file_kind(img::fd_types type);

/// The message inside a file_entry, or null if the entry lacks it.
const google::protobuf::Message *inner_message(const img::file_entry &file, const SplitFileKind &kind);

} // namespace image
