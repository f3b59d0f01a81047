// Reading and writing another process's memory.
#pragma once

#include "base/ids.hh"
#include "base/result.hh"
#include "base/unique_fd.hh"

#include <cstddef>
#include <span>

namespace compel {

using base::Pid;
using base::RemotePtr;
using base::Result;

/// The memory of one process. Reads and writes go through /proc/PID/mem, which ignores protection (PROT_NONE pages can
/// be read, read-only private pages written) and follows the process that was opened, whatever happens to its pid.
class RemoteMemory {
public:
    /// Needs the right to ptrace the process.
    static Result<RemoteMemory> open(Pid pid);

    /// Errors: System(EIO or EFAULT) where nothing is mapped; Died when the process is gone.
    Result<void> read(uint64_t address, std::span<std::byte> into) const;
    Result<void> write(uint64_t address, std::span<const std::byte> from) const;
    /// As many bytes as can be read from there on; 0 when the first page cannot.
    size_t read_some(uint64_t address, std::span<std::byte> into) const;

    template <class T> Result<T> read_value(RemotePtr<T> from) const {
        T value{};
        TRY(read(from.address(), std::as_writable_bytes(std::span(&value, 1))));
        return value;
    }
    template <class T> Result<void> write_value(RemotePtr<T> to, const T &value) const {
        return write(to.address(), std::as_bytes(std::span(&value, 1)));
    }

private:
    explicit RemoteMemory(base::UniqueFd fd) : fd_(std::move(fd)) {}
    base::UniqueFd fd_;
};

} // namespace compel
