// Ghosts: files without any name (link count 0), whose contents go into the image.
//
// A restore makes them without their names standing beside the user's files: see make_ghosts().
#pragma once

#include "criu/resource/file/file.hh"

namespace resource {

/// Writes ghost-file-ID.img. Errors: Unsupported above the ghost limit.
Result<void> write_ghost(FileDumpContext &context, const OpenFile &file, uint32_t ghost);

struct Ghost {
    std::string path;
    uint32_t id;
    uint32_t file = 0; ///< one of those that it is
    auto operator<=>(const Ghost &) const = default;
};

/// All that do not exist yet, but for those that open_nameless() tries to make first.
Result<std::vector<Ghost>> missing_ghosts(const FileOpenContext &context);

/// Makes them; FileOpenContext::ghost_paths leads to them then.
Result<void> make_ghosts(FileOpenContext &context, std::vector<Ghost> ghosts);

/// open_at_once() of what path_to_open() says.
base::UniqueFd open_kept(const std::string &path, int flags);

} // namespace resource
