// POSIX message queues. To the kernel they are regular files of a file system of their own (mqueue).
#pragma once

#include "criu/resource/file/file.hh"

namespace resource {

bool is_message_queue(const OpenFile &file);

/// Adds attributes and, for the first description of a queue, its messages.
Result<void> dump_message_queue(FileDumpContext &context, const OpenFile &file, img::reg_file_entry &reg);

/// Whether a description of the queue has been dumped.
bool is_dumped_queue(FileDumpContext &context, int queue);
/// The number of its ipc namespace, where only tasks below the root live in that; else 0.
Result<uint32_t> namespace_of_queue(FileDumpContext &context, dev_t device);
/// Those of the tree's own ipc namespaces that are left, when all tables are done.
Result<void> dump_unopened_queues(FileDumpContext &context);

/// Opens the queue of that name, or makes it anew with its messages.
Result<base::UniqueFd> open_message_queue(FileOpenContext &context, const img::file_entry &entry);

} // namespace resource
