// The mount that a file was opened through.
#pragma once

#include "base/result.hh"

#include <cstdint>
#include <fcntl.h>
#include <sys/stat.h>

namespace kernel {

/// Its number, as in /proc/PID/mountinfo. Errors: System.
inline base::Result<uint32_t> mount_of(int fd) {
    struct statx now {};
    if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &now) < 0)
        return base::fail_sys("ask for its mount");
    return static_cast<uint32_t>(now.stx_mnt_id);
}

} // namespace kernel
