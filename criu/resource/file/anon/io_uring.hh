// What the files about io_uring share: the layout of an instance.
#pragma once

#include "base/ids.hh"
#include "criu/parse/io_uring.hh"
#include "criu/resource/file/file.hh"

#include <linux/io_uring.h>

namespace resource::io_uring {

constexpr uint32_t kSqe128 = 1u << 10, kCqe32 = 1u << 11, kNoMmap = 1u << 14, kNoSqArray = 1u << 16;
constexpr uint32_t kKnownFlags = kSqe128 | kCqe32 | kNoSqArray;
constexpr uint32_t kMostEntries = 32768, kMostCompletions = 2 * kMostEntries;

/// The beginning of the queues' memory, the same since Linux 5.4.
struct Head {
    uint32_t sq_head, sq_tail, cq_head, cq_tail;
    uint32_t sq_mask, cq_mask, sq_entries, cq_entries;
    uint32_t sq_dropped, sq_flags, cq_flags, cq_overflow;
    uint64_t mark;     ///< not used by the kernel: kMark, and
    uint64_t requests; ///< where the requests of a restored instance are
};
static_assert(sizeof(Head) == 64);
constexpr uint64_t kMark = 0x676e6972'75697263; // "criuring"

/// Sizes of the parts, in bytes.
struct Layout {
    uint64_t array = 0; ///< where the array of indices begins: behind the completions
    uint64_t rings = 0, requests = 0;

    static Layout of(uint32_t entries, uint32_t completions, uint32_t flags) {
        Layout layout;
        const uint64_t behind = sizeof(Head) + uint64_t{completions} * (flags & kCqe32 ? 32 : 16);
        layout.array = (behind + 63) & ~uint64_t{63};
        layout.rings = flags & kNoSqArray ? behind : layout.array + uint64_t{entries} * sizeof(uint32_t);
        layout.requests = uint64_t{entries} * (flags & kSqe128 ? 128 : 64);
        return layout;
    }
};

constexpr uint32_t kByThread = IORING_SETUP_SQPOLL, kOnProcessor = IORING_SETUP_SQ_AFF;

/// What no call tells of an instance is read in the kernel's memory when all tables are known: its registered files may
/// be any. The entry is added then.
void remember_rest(FileDumpContext &context, const OpenFile &file, const img::file_entry &entry,
                   const parse::IoUringInfo &info, bool eventfd);
Result<void> finish(FileDumpContext &context);

/// The operation that makes the instance anew.
Result<plan::OpRef> open_late(LatePlan &late, const img::file_entry &entry);
/// The thread that submits has the credentials of who makes the instance.
bool keeps_credentials(const img::file_entry &entry);

} // namespace resource::io_uring
