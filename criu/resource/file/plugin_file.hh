// Files that plugins save and restore (-L). In the images they are of the type EXT, as io_uring instances are.
#pragma once

#include "criu/resource/file/file.hh"

namespace resource {

/// Whether a plugin has saved the file; `entry` then is what tells of it.
Result<bool> dump_with_plugin(FileDumpContext &context, const OpenFile &file, img::file_entry &entry);

Result<base::UniqueFd> open_file_of_plugin(FileOpenContext &context, const img::file_entry &entry);
Result<void> settle_file_of_plugin(FileSettleContext &context, int fd, const img::file_entry &entry);

} // namespace resource
