#include "criu/resource/file/locks.hh"

#include "criu/parse/fdinfo.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

namespace resource {
namespace {

enum Flag : uint32_t { kPosix = 1, kFlock = 2, kOfd = 4, kLease = 8 }; // numbers of the image format

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
        // Of a lease that is being broken this is what it becomes; whoever breaks it asks again.
        entry.set_type(type_of(lock.access));
        entry.set_pid(context.pids.inside(holder).value);
        entry.set_fd(number);
        entry.set_start(flag & (kPosix | kOfd) ? lock.start : 0);
        entry.set_len(flag & (kPosix | kOfd) && lock.end >= 0 ? lock.end - lock.start + 1 : 0);
        TRY(context.images.add(image::ImageKind::FileLocks, 0, entry));
    }
    return {};
}

Result<void> restore_lock(const img::file_lock_entry &entry) {
    if (entry.type() > F_UNLCK || entry.start() < 0 || entry.len() < 0)
        return base::bad_image(fmt::format("filelocks.img: an impossible lock on fd {}", entry.fd()));
    if (entry.type() == F_UNLCK)
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
    case kLease:
        if (fcntl(entry.fd(), F_SETLEASE, static_cast<int>(entry.type())) == 0)
            return {};
        return base::fail(std::move(base::Error::sys(fmt::format("fd {}: take the lease again", entry.fd()))
                                        .hint("no other process may have the file open")));
    default:
        return base::bad_image(fmt::format("filelocks.img: a lock of an unknown kind {:#x}", entry.flag()));
    }
}

} // namespace resource
