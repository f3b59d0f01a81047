// The daemon's end of lazy-pages.socket: the descriptors of a tree that is being restored.
#pragma once

#include "base/ids.hh"
#include "base/unique_fd.hh"

#include "base/result.hh"

#include <cstdint>

namespace lazy {

using base::Result;

struct NewProcess {
    uint32_t image = 0;   ///< its pid in the images
    base::UniqueFd fd;    ///< userfaultfd; none for one that has ended
    base::UniqueFd pidfd; ///< of the process as we see it; none where the kernel does not tell
};

class Intake {
public:
    /// Somebody can connect. The socket's name goes when one has. Errors: System.
    static Result<Intake> listen();
    Intake(Intake &&) = default;
    ~Intake();
    /// Another process waits: the socket's name is its.
    void leave_to_other() { listener_.reset(); }
    /// Waits for the restore. `caller`: a descriptor whose end means that it will not come; -1: none.
    Result<void> accept(int caller = -1);
    /// The next of its processes. Errors: BadImage for what no restore sends; Died when it has ended.
    Result<NewProcess> next();
    /// Can be read when the tasks are about to run: see take_end().
    int fd() const { return peer_.get(); }
    /// Reads it. Errors: as next().
    Result<void> take_end();

private:
    Intake() = default;
    base::UniqueFd listener_, peer_;
};

} // namespace lazy
