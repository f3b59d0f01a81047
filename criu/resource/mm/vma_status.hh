// Values of vma_entry.status, the bit mask that says what a mapping is (image format, fixed).
#pragma once

#include <cstdint>

namespace resource {

inline constexpr uint32_t kVmaRegular = 0x1, kVmaStack = 0x2, kVmaVsyscall = 0x4, kVmaVdso = 0x8, kVmaHeap = 0x20,
                          kVmaFilePrivate = 0x40, kVmaFileShared = 0x80, kVmaAnonShared = 0x100,
                          kVmaAnonPrivate = 0x200, kVmaSysvIpc = 0x400, kVmaSocket = 0x800, kVmaVvar = 0x1000,
                          kVmaAioRing = 0x2000, kVmaMemfd = 0x4000, kVmaShadowStack = 0x8000, kVmaGuard = 0x10000,
                          kVmaUprobes = 0x20000, kVmaPlugin = 0x8000000;

} // namespace resource
