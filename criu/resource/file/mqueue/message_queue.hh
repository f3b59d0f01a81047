// POSIX message queues. To the kernel they are regular files of a file system of their own (mqueue).
#pragma once

#include "criu/resource/file/file.hh"

namespace resource {

bool is_message_queue(const OpenFile &file);

/// Adds attributes and, for the first description of a queue, its messages.
Result<void> dump_message_queue(FileDumpContext &context, const OpenFile &file, img::reg_file_entry &reg);

/// Opens the queue of that name, or makes it anew with its messages.
Result<base::UniqueFd> open_message_queue(FileOpenContext &context, const img::file_entry &entry);

} // namespace resource
