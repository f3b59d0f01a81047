// Events of inotify that nobody has read yet.
//
// They can only be looked at by reading them, which a dump may do when the tree is about to end. And only the kernel
// puts events into a queue; but it does not care where the file is that something happens to. So a restore lets them
// happen again, on files of a file system of its own that nobody else can see, watched under the numbers of the real
// watches.
//
// When these watches are removed, an IN_IGNORED follows for each, unless the queue is full. So it is full then: filled
// with events of no interest, which are read out of its head afterwards. A full queue takes one last event, the one for
// an overflow, but not if that is in the queue already; so it is the first to come, and read out, too.
#pragma once

#include "base/result.hh"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace resource {

using base::Result;

struct WatchEvent {
    int32_t watch = 0; ///< -1: overflow
    uint32_t mask = 0;
    uint32_t cookie = 0;
    std::string name;
    bool operator==(const WatchEvent &) const = default;
};

/// Bytes that wait in the queue.
size_t unread_bytes(int fd);

/// Takes everything out of the queue.
Result<std::vector<WatchEvent>> take_events(int fd);

/// Puts events into the empty queue of a group without watches. `overflow`: the program is told at the end that some
/// are lost (IN_Q_OVERFLOW). Errors: Unsupported for events that cannot be caused; the queue is of no use then.
Result<void> put_events(int fd, const std::vector<WatchEvent> &events, bool overflow);

/// inotify_add_watch under a chosen number.
Result<void> add_watch(int fd, int number, const std::string &path, uint32_t mask);

/// The number that the next watch gets. The queue must be empty, and is.
Result<int> probe_next_watch(int fd);
Result<void> set_next_watch(int fd, int number);

} // namespace resource
