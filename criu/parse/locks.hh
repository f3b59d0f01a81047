// /proc/locks, and the `lock:` lines of fdinfo, which look the same.
#pragma once

#include "criu/parse/result.hh"

#include <cstdint>
#include <string_view>
#include <vector>

namespace parse {

enum class LockKind : uint8_t { Flock, Posix, Ofd, Lease, Other };
enum class LockAccess : uint8_t { Read, Write, Unlock };

struct FileLock {
    int64_t id = 0;
    LockKind kind = LockKind::Other;
    LockAccess access = LockAccess::Read;
    bool mandatory = false;
    bool breaking = false; ///< a lease somebody is waiting to see broken
    bool blocked = false;  ///< "->": a waiter, not a holder
    int32_t pid = 0;       ///< -1 for OFD locks
    bool has_inode = false;
    uint32_t dev_major = 0, dev_minor = 0;
    uint64_t inode = 0;
    int64_t start = 0;
    int64_t end = -1; ///< last byte, -1 = to the end of the file
    bool operator==(const FileLock &) const = default;
};

/// One line without the prefix `lock:`.
Result<FileLock> parse_lock_line(std::string_view line);
Result<std::vector<FileLock>> parse_locks(std::string_view text);

} // namespace parse
