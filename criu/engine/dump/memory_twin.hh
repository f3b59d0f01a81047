// A process that holds the memory of a task as it was at one instant, while the task goes on: a forked copy that does
// nothing, is no child of anybody in the tree, has no descriptor of it, and ends with us.
#pragma once

#include "compel/injection.hh"
#include "criu/engine/dump/page_sender.hh"

namespace dump {

class MemoryTwin {
public:
    /// Has the stopped task make one. Errors: System(EAGAIN, ENOMEM, ...) where it may not have another process.
    static Result<MemoryTwin> make(compel::Injection &agent);
    MemoryTwin(MemoryTwin &&) = default;
    MemoryTwin &operator=(MemoryTwin &&) = default;
    /// Ends it, and waits until it is gone.
    ~MemoryTwin();

    base::Pid pid() const { return pid_; }
    /// Errors: System, Died.
    Result<void> read(uint64_t address, std::span<std::byte> into) const;

private:
    MemoryTwin(base::UniqueFd socket, base::UniqueFd process, base::Pid pid, compel::RemoteMemory memory)
        : socket_(std::move(socket)), process_(std::move(process)), pid_(pid), memory_(std::move(memory)) {}

    base::UniqueFd socket_;  ///< the twin ends when this is closed
    base::UniqueFd process_; ///< pidfd
    base::Pid pid_;
    compel::RemoteMemory memory_;
};

} // namespace dump
