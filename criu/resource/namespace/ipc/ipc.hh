// What the files about an IPC namespace share: System V objects are told by an id, which the kernel gives to the next
// new object where one has asked for it, and described by the same fields.
#pragma once

#include "criu/resource/namespace/namespace.hh"

#include "ipc-desc.pb.h"

#include <sys/ipc.h>

namespace resource::ipc {

/// Copies what the kernel says of any object. `id` is the whole number, sequence included.
void describe(const ipc_perm &perm, int id, img::ipc_desc_entry *desc);

/// "System V semaphores 3 (key 0x1234)".
std::string name_of(const char *what, const img::ipc_desc_entry &desc);

/// Makes the kernel give the next new object of a kind this id. `sysctl`: "msg_next_id".
Result<void> ask_for_id(const char *sysctl, uint32_t id);

/// Permission bits of the image, to create an object with.
inline int creation_flags(const img::ipc_desc_entry &desc) {
    return IPC_CREAT | IPC_EXCL | static_cast<int>(desc.mode() & 0777);
}

// In a thread that is inside of the namespace.
Result<void> dump_variables(NamespaceDumpContext &context, uint32_t id);
Result<void> dump_segments(NamespaceDumpContext &context, uint32_t id);
Result<void> dump_semaphores(NamespaceDumpContext &context, uint32_t id);
Result<void> dump_messages(NamespaceDumpContext &context, uint32_t id);

// In the root task, in its fresh namespace.
Result<void> fill_variables(NamespaceFillContext &context);
Result<void> fill_segments(NamespaceFillContext &context);
Result<void> fill_semaphores(NamespaceFillContext &context);
Result<void> fill_messages(NamespaceFillContext &context);

} // namespace resource::ipc
