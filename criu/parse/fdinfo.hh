// /proc/PID/fdinfo/N: what the kernel tells about one descriptor. Which parts are there depends on the kind of file.
#pragma once

#include "criu/parse/locks.hh"
#include "criu/parse/result.hh"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace parse {

struct FileHandle {
    int32_t type = 0;
    std::vector<uint8_t> bytes;
    bool operator==(const FileHandle &) const = default;
};

struct EventFdInfo {
    uint64_t count = 0;
    std::optional<int32_t> id;
    bool semaphore = false; ///< false on kernels before 6.4, which do not tell
    bool operator==(const EventFdInfo &) const = default;
};

struct EpollTarget {
    int32_t fd = 0; ///< number at EPOLL_CTL_ADD; may have been closed or reused since
    uint32_t events = 0;
    uint64_t data = 0;
    int64_t pos = 0;
    uint64_t inode = 0;
    uint64_t sdev = 0; ///< kernel-internal dev_t: major << 20 | minor
    bool operator==(const EpollTarget &) const = default;
};

struct InotifyMark {
    int32_t wd = 0;
    uint64_t inode = 0;
    uint64_t sdev = 0;
    uint32_t mask = 0, ignored_mask = 0;
    std::optional<FileHandle> handle; ///< absent where the file system encodes none
    bool operator==(const InotifyMark &) const = default;
};

enum class FanotifyTarget : uint8_t { Inode, Mount, Superblock, MountNamespace };

struct FanotifyMark {
    FanotifyTarget target = FanotifyTarget::Inode;
    uint64_t inode = 0;
    uint64_t sdev = 0;
    int32_t mnt_id = 0;
    uint64_t mnt_ns = 0;
    uint32_t mflags = 0, mask = 0, ignored_mask = 0;
    std::optional<FileHandle> handle;
    bool operator==(const FanotifyMark &) const = default;
};

struct FanotifyInfo {
    uint32_t flags = 0, event_flags = 0;
    std::vector<FanotifyMark> marks;
    bool operator==(const FanotifyInfo &) const = default;
};

struct TimerFdInfo {
    int32_t clock_id = 0;
    uint64_t ticks = 0;
    uint32_t settime_flags = 0;
    uint64_t value_sec = 0, value_nsec = 0;
    uint64_t interval_sec = 0, interval_nsec = 0;
    bool operator==(const TimerFdInfo &) const = default;
};

struct PidFdInfo {
    int32_t pid = 0;              ///< -1: dead and reaped; 0: not visible from the reader's namespace
    std::vector<int32_t> ns_pids; ///< outermost first
    bool operator==(const PidFdInfo &) const = default;
};

struct BpfMapInfo {
    uint32_t type = 0, key_size = 0, value_size = 0, max_entries = 0, flags = 0, id = 0;
    uint64_t extra = 0, memlock = 0;
    bool frozen = false;
    bool operator==(const BpfMapInfo &) const = default;
};

struct FdInfo {
    int64_t pos = 0;
    uint32_t flags = 0; ///< O_*, with O_CLOEXEC
    int32_t mnt_id = -1;
    uint64_t inode = 0; ///< 0 on kernels before 5.14

    std::optional<EventFdInfo> eventfd;
    std::vector<EpollTarget> epoll;
    std::optional<uint64_t> sigmask;
    std::vector<InotifyMark> inotify;
    std::optional<FanotifyInfo> fanotify;
    std::optional<TimerFdInfo> timerfd;
    std::optional<PidFdInfo> pidfd;
    std::optional<BpfMapInfo> bpf_map;
    std::optional<uint32_t> tty_index;
    std::optional<std::string> tun_interface; ///< empty: not attached
    std::vector<FileLock> locks;
    std::vector<std::string> io_uring;                      ///< the ring's lines as they are
    std::vector<std::pair<std::string, std::string>> other; ///< keys nobody here knows
    bool operator==(const FdInfo &) const = default;
};

Result<FdInfo> parse_fdinfo(std::string_view text);

} // namespace parse
