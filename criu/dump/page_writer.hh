// Copying memory into pages-N.img.
#pragma once

#include "criu/dump/memory.hh"

namespace dump {

/// Writes the runs one after the other to `fd`, from its beginning. With an agent the task writes its own memory in
/// calls of megabytes, one copy in all; what it cannot write so (unreadable pages, a limit on file sizes, a short
/// write) and everything without an agent goes through /proc/PID/mem. Errors: System(ENOSPC, ...) of the image's file
/// system; Died.
Result<void> write_task_pages(const std::vector<PageRun> &runs, int fd, compel::Injection *agent,
                              const compel::RemoteMemory &memory);

/// Writes pagemap (of `kind`, `id`) and pages of a memory file, holes left out. `file`: a descriptor of it.
Result<void> write_file_pages(MemoryDumpContext &context, image::ImageKind kind, uint64_t id, int file);

} // namespace dump
