// The PAGEMAP_SCAN ioctl of /proc/PID/pagemap (Linux 6.7; PAGE_IS_GUARD 6.15). Newer than the installed headers.
#pragma once

#include <cstdint>
#include <sys/ioctl.h>

namespace kernel_abi {

struct PageRegion {
    uint64_t start, end, categories;
};

struct PmScanArg {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
    uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
static_assert(sizeof(PmScanArg) == 96);

inline constexpr unsigned long kPagemapScan = _IOWR('f', 16, PmScanArg);

inline constexpr uint64_t kPageIsFile = 1 << 2, kPageIsPresent = 1 << 3, kPageIsSwapped = 1 << 4, kPageIsPfnzero = 1 << 5,
                          kPageIsHuge = 1 << 6, kPageIsGuard = 1 << 8;

} // namespace kernel_abi
