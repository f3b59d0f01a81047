// Notifications of POSIX message queues: who is told of the next message (mq_notify).
#pragma once

#include "criu/resource/file/file.hh"

namespace resource {

Result<bool> has_notification(int queue);

/// Adds the registration, if it is a task's of the tree, and the messages if they are asked for: taking them out and
/// putting them back would set the notification off.
Result<void> dump_with_notification(FileDumpContext &context, const OpenFile &file, bool with_messages,
                                    img::ext_mqueue &entry);

/// Registers what the process `pid`, whose descriptors are `table`, had registered.
Result<void> plan_notifications(plan::ThreadPlan &plan, const ImageFiles &files,
                                const std::vector<img::fdinfo_entry> &table, uint32_t pid);

} // namespace resource
