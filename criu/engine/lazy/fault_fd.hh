// What is done through a userfaultfd: messages come in, pages go out. ioctl_userfaultfd(2).
#pragma once

#include "base/result.hh"

#include <cstddef>
#include <cstdint>
#include <linux/userfaultfd.h>
#include <optional>

namespace lazy {

using base::Result;

/// How an attempt to put pages ended.
enum class Put : uint8_t {
    Done,
    Changing, ///< the program changes its mappings: the message about it has to be read first
    Gone,     ///< the process has ended, or runs another program
};

/// Copies pages to where they are missing. What is there already, or mapped no more, is passed over.
/// `done`: bytes that need no further attempt.
Put put_pages(int fd, uint64_t to, const std::byte *from, uint64_t size, uint64_t &done);
/// The page is all zeroes.
Put put_zero_page(int fd, uint64_t address);
/// Whoever waits for a page looks again, and asks again if it is still missing.
void wake_all(int fd);
/// From now on whoever touches what is missing there is ended by SIGBUS, also when the descriptor is closed.
/// False where the kernel cannot (before 6.6).
bool poison(int fd, uint64_t start, uint64_t end);
/// The next message; nothing if none waits. The kernel writes it into `message`, before the one who caused it goes on.
/// Errors: System.
Result<bool> read_message(int fd, uffd_msg &message);

} // namespace lazy
