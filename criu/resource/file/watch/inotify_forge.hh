// Events of inotify that are to come once more: see inotify_queue.hh.
#pragma once

#include "base/unique_fd.hh"
#include "criu/resource/file/watch/inotify_queue.hh"

namespace resource {

/// A file system that is mounted nowhere: nobody else can watch what happens in it.
Result<base::UniqueFd> create_scratch();

/// Lets each event happen to a file in `scratch` that is watched under the event's number. There has to be room for
/// exactly these events in the queue, not for what comes of removing the watches at the end. Returns their size in the
/// queue. Errors: Unsupported for events that cannot be caused.
Result<size_t> forge_events(int fd, int scratch, const std::vector<WatchEvent> &events);

} // namespace resource
