// ioctls on /proc/PID/pagemap (Linux 6.7) and /proc/PID/maps (6.11). Carried here because the headers of Debian 12 are
// those of Linux 6.1. Sources: include/uapi/linux/fs.h.
#pragma once

#include <cstdint>
#include <sys/ioctl.h>

namespace kernel_abi {

struct PageRegion {
    uint64_t start, end, categories;
};

struct PmScanArg {
    uint64_t size, flags;
    uint64_t start, end;
    uint64_t walk_end; ///< written; see kernel.md for the quirk on complete walks
    uint64_t vec, vec_len, max_pages;
    uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
static_assert(sizeof(PmScanArg) == 96);

inline constexpr unsigned long kPagemapScan = _IOWR('f', 16, PmScanArg);

enum PageCategory : uint64_t {
    kPageIsWpAllowed = 1 << 0,
    kPageIsWritten = 1 << 1,
    kPageIsFile = 1 << 2,
    kPageIsPresent = 1 << 3,
    kPageIsSwapped = 1 << 4,
    kPageIsPfnZero = 1 << 5,
    kPageIsHuge = 1 << 6,
    kPageIsSoftDirty = 1 << 7,
    kPageIsGuard = 1 << 8, ///< 6.15
};
enum PmScanFlag : uint64_t { kPmScanWpMatching = 1, kPmScanCheckWpAsync = 2 };

struct ProcmapQuery {
    uint64_t size, query_flags, query_addr;
    uint64_t vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
    uint32_t dev_major, dev_minor;
    uint32_t vma_name_size, build_id_size;
    uint64_t vma_name_addr, build_id_addr;
};
static_assert(sizeof(ProcmapQuery) == 104);

inline constexpr unsigned long kProcmapQuery = _IOWR('f', 17, ProcmapQuery);

enum ProcmapQueryFlag : uint64_t {
    kProcmapReadable = 1,
    kProcmapWritable = 2,
    kProcmapExecutable = 4,
    kProcmapShared = 8,
    kProcmapCoveringOrNext = 16,
    kProcmapFileBacked = 32,
};

} // namespace kernel_abi
