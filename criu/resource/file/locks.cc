#include "criu/resource/file/locks.hh"

#include "criu/parse/fdinfo.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

namespace resource {
namespace {

enum Flag : uint32_t { kPosix = 1, kFlock = 2, kOfd = 4, kLease = 8 }; // numbers of the image format
constexpr uint32_t kBreaking = 4; // in the type of a lease: somebody waits until it has become what the rest says

Result<uint32_t> flag_of(const parse::FileLock &lock) {
    switch (lock.kind) {
    case parse::LockKind::Posix:
        return kPosix;
    case parse::LockKind::Flock:
        return kFlock;
    case parse::LockKind::Ofd:
        return kOfd;
    case parse::LockKind::Lease:
        return kLease;
    case parse::LockKind::Other:
        break;
    }
    return base::unsupported("a lock of an unknown kind is held on it");
}

uint32_t type_of(parse::LockAccess access) {
    return access == parse::LockAccess::Read ? F_RDLCK : access == parse::LockAccess::Write ? F_WRLCK : F_UNLCK;
}

std::string range_of(const img::file_lock_entry &entry) {
    return entry.len() ? fmt::format("bytes {} to {}", entry.start(), entry.start() + entry.len() - 1)
                       : fmt::format("byte {} to the end", entry.start());
}

struct flock range(const img::file_lock_entry &entry) {
    struct flock lock {};
    lock.l_type = static_cast<short>(entry.type());
    lock.l_whence = SEEK_SET;
    lock.l_start = entry.start();
    lock.l_len = entry.len();
    return lock;
}

base::Error taken(const img::file_lock_entry &entry, const std::string &what, pid_t holder) {
    base::Error error(base::ErrorKind::Busy,
                      fmt::format("fd {}: {} is locked by {} now", entry.fd(), what,
                                  holder > 0 ? fmt::format("process {}", holder) : "another process"));
    return std::move(error.hint("end the process that has taken the lock since the checkpoint"));
}

Result<void> lock_range(const img::file_lock_entry &entry, int command, int question) {
    struct flock lock = range(entry);
    if (fcntl(entry.fd(), command, &lock) == 0)
        return {};
    if (errno != EAGAIN && errno != EACCES)
        return base::fail_sys(fmt::format("fd {}: lock {}", entry.fd(), range_of(entry)));
    lock = range(entry);
    const bool known = fcntl(entry.fd(), question, &lock) == 0 && lock.l_type != F_UNLCK;
    return base::fail(taken(entry, range_of(entry), known ? lock.l_pid : 0));
}

/// Nobody is told of what happens to the file while such an object lives.
class Untold {
public:
    explicit Untold(int fd) : fd_(fd), known_(fcntl(fd, F_GETOWN_EX, &owner_) == 0 && fcntl(fd, F_SETOWN, 0) == 0) {}
    Untold(const Untold &) = delete;
    ~Untold() {
        if (known_)
            (void)fcntl(fd_, F_SETOWN_EX, &owner_);
    }

private:
    int fd_;
    f_owner_ex owner_{};
    bool known_;
};

Result<void> take_lease(const img::file_lock_entry &entry, int type) {
    if (fcntl(entry.fd(), F_SETLEASE, type) == 0)
        return {};
    return base::fail(std::move(base::Error::sys(fmt::format("fd {}: take the lease again", entry.fd()))
                                    .hint("no other process may have the file open")));
}

/// A lease for writing becomes one for reading when somebody wants to read, and none when somebody wants to write; one
/// for reading, which only a file has that is not open for writing, can only end.
Result<void> take_breaking_lease(const img::file_lock_entry &entry, uint32_t becomes) {
    if (becomes == F_WRLCK)
        return base::bad_image(fmt::format("filelocks.img: an impossible lease on fd {}", entry.fd()));
    const bool writable = (fcntl(entry.fd(), F_GETFL) & O_ACCMODE) != O_RDONLY;
    TRY(take_lease(entry, becomes == F_RDLCK || writable ? F_WRLCK : F_RDLCK));
    const Untold holder(entry.fd()); // has had its signal before the checkpoint
    const std::string self = fmt::format("/proc/self/fd/{}", entry.fd());
    base::UniqueFd opened(open(self.c_str(), (becomes == F_RDLCK ? O_RDONLY : O_WRONLY) | O_NONBLOCK | O_CLOEXEC));
    if (opened || errno != EWOULDBLOCK)
        return base::fail_sys(opened ? 0 : errno, fmt::format("fd {}: break the lease again", entry.fd()));
    return {};
}

Result<void> restore_lease(const img::file_lock_entry &entry) {
    if (entry.type() & kBreaking)
        return take_breaking_lease(entry, entry.type() & ~kBreaking);
    return entry.type() == F_UNLCK ? Result<void>{} : take_lease(entry, static_cast<int>(entry.type()));
}

} // namespace

Result<void> dump_locks(FileDumpContext &context, const std::string &fdinfo, Pid holder, int number, bool first) {
    if (fdinfo.find("\nlock:") == std::string::npos)
        return {};
    for (const parse::FileLock &lock : TRY(parse::parse_fdinfo(fdinfo)).locks) {
        const uint32_t flag = TRY(flag_of(lock));
        if (lock.blocked || (!first && flag != kPosix))
            continue;
        if (!context.options.file_locks)
            return base::fail(base::Error(base::ErrorKind::Unsupported, "a lock is held on this file")
                                  .hint("dump and restore with --file-locks"));
        if (holder == Pid(getpid()))
            return base::unsupported("a lock is held on it, and no task has it open: it is on its way in a socket");
        img::file_lock_entry entry;
        entry.set_flag(flag);
        entry.set_type(type_of(lock.access) | (flag == kLease && lock.breaking ? kBreaking : 0));
        entry.set_pid(context.pids.inside(holder).value);
        entry.set_fd(number);
        entry.set_start(flag & (kPosix | kOfd) ? lock.start : 0);
        entry.set_len(flag & (kPosix | kOfd) && lock.end >= 0 ? lock.end - lock.start + 1 : 0);
        TRY(context.images.add(image::ImageKind::FileLocks, 0, entry));
    }
    return {};
}

Result<bool> holds_lease(const std::string &fdinfo) {
    if (fdinfo.find("\nlock:") == std::string::npos)
        return false;
    for (const parse::FileLock &lock : TRY(parse::parse_fdinfo(fdinfo)).locks)
        if (lock.kind == parse::LockKind::Lease && !lock.blocked)
            return true;
    return false;
}

Result<void> restore_lock(const img::file_lock_entry &entry) {
    const uint32_t type = entry.flag() == kLease ? entry.type() & ~kBreaking : entry.type();
    if (type > F_UNLCK || entry.start() < 0 || entry.len() < 0)
        return base::bad_image(fmt::format("filelocks.img: an impossible lock on fd {}", entry.fd()));
    if (entry.flag() == kLease)
        return restore_lease(entry);
    if (type == F_UNLCK)
        return {};
    switch (entry.flag()) {
    case kPosix:
        return lock_range(entry, F_SETLK, F_GETLK);
    case kOfd:
        return lock_range(entry, F_OFD_SETLK, F_OFD_GETLK);
    case kFlock:
        if (flock(entry.fd(), (entry.type() == F_RDLCK ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0)
            return {};
        if (errno == EWOULDBLOCK)
            return base::fail(taken(entry, "the file", 0));
        return base::fail_sys(fmt::format("fd {}: flock", entry.fd()));
    default:
        return base::bad_image(fmt::format("filelocks.img: a lock of an unknown kind {:#x}", entry.flag()));
    }
}

} // namespace resource
