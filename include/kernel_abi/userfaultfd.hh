// What include/uapi/linux/userfaultfd.h has gained since the headers of Linux 6.1.
#pragma once

#include <cstdint>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

namespace kernel_abi {

enum UffdFeature : uint64_t {
    kUffdWpHugetlbfsShmem = 1 << 12,
    kUffdWpUnpopulated = 1 << 13,
    kUffdPoison = 1 << 14,
    kUffdWpAsync = 1 << 15, ///< 6.7
    kUffdMove = 1 << 16,    ///< 6.8
};

struct UffdioMove {
    uint64_t dst, src, len, mode;
    int64_t move; ///< written: bytes moved, or -errno
};
static_assert(sizeof(UffdioMove) == 40);

inline constexpr unsigned long kUffdioMove = _IOWR(UFFDIO, 0x05, UffdioMove);

enum UffdioMoveMode : uint64_t { kUffdioMoveDontWake = 1, kUffdioMoveAllowSrcHoles = 2 };

} // namespace kernel_abi
