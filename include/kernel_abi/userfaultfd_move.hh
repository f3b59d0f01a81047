// UFFDIO_MOVE (Linux 6.8): moves pages between mappings of one process without copying. Newer than the installed
// headers.
#pragma once

#include <cstdint>
#include <sys/ioctl.h>

namespace kernel_abi {

struct UffdioApi {
    uint64_t api, features, ioctls;
};
struct UffdioRange {
    uint64_t start, length;
};
struct UffdioRegister {
    UffdioRange range;
    uint64_t mode, ioctls;
};
struct UffdioMove {
    uint64_t destination, source, length, mode;
    int64_t moved;
};

inline constexpr uint64_t kUffdApi = 0xaa, kUffdFeatureMove = 1 << 16, kUffdModeMissing = 1;
inline constexpr unsigned long kUffdioApi = _IOWR(0xaa, 0x3f, UffdioApi);
inline constexpr unsigned long kUffdioRegister = _IOWR(0xaa, 0x00, UffdioRegister);
inline constexpr unsigned long kUffdioUnregister = _IOR(0xaa, 0x01, UffdioRange);
inline constexpr unsigned long kUffdioMove = _IOWR(0xaa, 0x05, UffdioMove);

} // namespace kernel_abi
