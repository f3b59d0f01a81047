// Copying memory of a process that goes on writing to it.
//
// What is written while it is copied may be torn. It does not matter: the kernel notes the write, which came after the
// notes were taken, and the next dump saves the page again.
#pragma once

#include "criu/engine/dump/memory.hh"

namespace pre_dump {

using base::Result;

class Copier {
public:
    /// Writes to `fd`, from its beginning. `unreadable_too`: also what the process itself may not read.
    Copier(base::Pid pid, int fd, bool unreadable_too, engine::Progress *progress)
        : pid_(pid), fd_(fd), unreadable_too_(unreadable_too), progress_(progress) {}

    /// Copies what `runs` say is to be written, and returns what was: pages that have gone meanwhile are left out. A
    /// process that has ended has no pages any more. Errors: System of the image's file system.
    Result<std::vector<dump::PageRun>> copy(const std::vector<dump::PageRun> &runs);

private:
    Result<void> copy_run(const dump::PageRun &run, std::vector<dump::PageRun> &copied);
    size_t read_some(uint64_t address, std::span<std::byte> into, bool readable);
    Result<void> flush();

    base::Pid pid_;
    int fd_;
    bool unreadable_too_;
    engine::Progress *progress_;
    bool ended_ = false;
    std::optional<compel::RemoteMemory> memory_; ///< for what the process may not read
    std::vector<std::byte> buffer_;
    size_t used_ = 0;
    uint64_t offset_ = 0;
};

} // namespace pre_dump
