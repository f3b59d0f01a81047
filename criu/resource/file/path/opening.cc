#include "criu/resource/file/path/opening.hh"

#include <fcntl.h>

namespace resource {

base::UniqueFd open_at_once(const char *path, int flags) {
    base::UniqueFd fd(::open(path, flags | O_NONBLOCK));
    // O_PATH waits for nothing, and has no flags to set.
    if (fd && !(flags & (O_NONBLOCK | O_PATH)) && fcntl(fd.get(), F_SETFL, flags) < 0)
        return {};
    return fd;
}

} // namespace resource
