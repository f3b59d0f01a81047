// Copying memory into pages-N.img.
#pragma once

#include "criu/engine/dump/memory.hh"

#include <optional>
#include <vector>

namespace dump {

/// Writes the memory of a task to one file, from its beginning. With an agent the task writes its own memory in calls
/// of megabytes, one copy in all; what it cannot write so (unreadable pages, a limit on file sizes, a short write) and
/// everything without an agent goes through /proc/PID/mem.
/// Errors: System(ENOSPC, ...) of the image's file system; Died.
class TaskPageWriter {
public:
    /// `agent` may be null.
    TaskPageWriter(int fd, compel::Injection *agent, const compel::RemoteMemory &memory,
                   engine::Progress *progress = nullptr)
        : fd_(fd), agent_(agent), memory_(&memory), progress_(progress) {}

    /// The runs, but those in the parent, one after the other in the file. The task may still be writing the last of
    /// them afterwards.
    Result<void> begin(const std::vector<PageRun> &runs);
    /// Waits for it.
    Result<void> finish();

private:
    struct Piece {
        uint64_t address, bytes, file_offset;
    };
    struct Call { ///< of the batch under way, with the pieces that it writes
        size_t index, first, count;
    };
    Result<void> add(Piece piece);
    Result<void> submit();
    Result<void> complete(const Call &call, int64_t written);
    Result<void> copy_from_outside(Piece piece);

    int fd_;
    compel::Injection *agent_;
    const compel::RemoteMemory *memory_;
    engine::Progress *progress_;
    std::vector<Piece> pieces_; ///< for the next batch, or of the one under way
    uint64_t bytes_ = 0;
    std::optional<compel::Batch> under_way_;
    std::vector<Call> calls_;
    std::vector<std::byte> buffer_;
};

/// Writes pagemap (of `kind`, `id`) and pages of a memory file, holes left out. `file`: a descriptor of it;
/// `mapped_end`: how far it reaches by what else is in the images.
Result<void> write_file_pages(MemoryDumpContext &context, image::ImageKind kind, uint64_t id, int file,
                              uint64_t mapped_end = UINT64_MAX);

} // namespace dump
