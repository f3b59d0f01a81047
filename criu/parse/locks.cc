#include "criu/parse/locks.hh"

#include "criu/parse/scan.hh"

namespace parse {

namespace {

LockKind kind_of(std::string_view word) {
    if (word == "FLOCK")
        return LockKind::Flock;
    if (word == "POSIX")
        return LockKind::Posix;
    if (word == "OFDLCK")
        return LockKind::Ofd;
    if (word == "LEASE")
        return LockKind::Lease;
    return LockKind::Other; // ACCESS, DELEG, LAYOUT
}

bool scan_access(std::string_view word, FileLock &lock) {
    if (word == "READ")
        lock.access = LockAccess::Read;
    else if (word == "WRITE")
        lock.access = LockAccess::Write;
    else if (word == "UNLCK" || word == "NONE" || word == "RW")
        lock.access = LockAccess::Unlock;
    else
        return false;
    return true;
}

/// "fe:00:1234" or "<none>:0"
bool scan_inode(Scan &s, FileLock &lock) {
    if (s.take("<none>:0"))
        return true;
    lock.has_inode = true;
    return s.hex(lock.dev_major) && s.take(':') && s.hex(lock.dev_minor) && s.take(':') && s.dec(lock.inode);
}

bool scan_range(Scan &s, FileLock &lock) {
    return s.blanks() && s.dec(lock.start) && s.blanks() && (s.take("EOF") || s.dec(lock.end));
}

bool scan_lock(std::string_view line, FileLock &lock) {
    Scan s(line);
    if (!(s.blanks() && s.dec(lock.id) && s.take(':') && s.blanks()))
        return false;
    lock.blocked = s.take("->");
    s.blanks();
    lock.kind = kind_of(s.word());
    s.blanks();
    std::string_view mode = s.word();
    lock.mandatory = mode == "MANDATORY";
    lock.breaking = mode == "BREAKING";
    s.blanks();
    return scan_access(s.word(), lock) && s.blanks() && s.dec(lock.pid) && s.blanks() && scan_inode(s, lock) &&
           scan_range(s, lock);
}

} // namespace

Result<FileLock> parse_lock_line(std::string_view line) {
    FileLock lock;
    if (!scan_lock(line, lock))
        return malformed("locks", 1, line);
    return lock;
}

Result<std::vector<FileLock>> parse_locks(std::string_view text) {
    std::vector<FileLock> out;
    Lines lines(text);
    for (std::string_view line; lines.next(line);)
        if (!scan_lock(line, out.emplace_back()))
            return malformed("locks", lines.number(), line);
    return out;
}

} // namespace parse
