// Who gets SIGIO (or the signal of F_SETSIG) when something happens on a descriptor. The kernel remembers the user ids
// of the one who set the owner, and checks them when it sends: they are set again by briefly taking on these ids.
#include "criu/resource/file/file.hh"

#include <algorithm>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef F_GETOWNER_UIDS
#define F_GETOWNER_UIDS 17
#endif

namespace resource {

bool is_in_tree(std::span<const tree::TaskFacts> tasks, Pid id, bool thread) {
    return std::ranges::any_of(tasks, [&](const tree::TaskFacts &task) {
        return task.pid == id ||
               (thread && std::ranges::any_of(task.threads, [&](auto &other) { return other.tid == id; }));
    });
}

Result<void> dump_owner(const FileDumpContext &context, const OpenFile &file, img::fown_entry *owner) {
    owner->set_uid(0), owner->set_euid(0), owner->set_signum(0), owner->set_pid_type(0), owner->set_pid(0);
    f_owner_ex who{};
    // O_PATH descriptors have no owner.
    if (fcntl(file.fd, F_GETOWN_EX, &who) < 0 || who.pid == 0) {
        if (int signal = fcntl(file.fd, F_GETSIG); signal > 0)
            owner->set_signum(static_cast<uint32_t>(signal));
        return {};
    }
    uint32_t ids[2] = {};
    if (fcntl(file.fd, F_GETOWNER_UIDS, ids) < 0)
        return base::fail_sys("fcntl(F_GETOWNER_UIDS)");
    owner->set_pid_type(static_cast<uint32_t>(who.type)); // F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP
    owner->set_pid(static_cast<uint32_t>(context.pids.inside(base::Pid(who.pid)).value));
    owner->set_uid(ids[0]);
    owner->set_euid(ids[1]);
    owner->set_signum(static_cast<uint32_t>(std::max(0, fcntl(file.fd, F_GETSIG))));
    return {};
}

bool has_owner(const img::fown_entry &owner) {
    return owner.pid() || owner.signum();
}

namespace {

/// The signal for the parent's death, which a change of user ids takes away: without it a task would outlive a restore
/// that is killed.
class ParentDeath {
public:
    ParentDeath() { prctl(PR_GET_PDEATHSIG, &signal_); }
    Result<void> restore() const {
        if (!signal_)
            return {};
        if (prctl(PR_SET_PDEATHSIG, signal_) < 0)
            return base::fail_sys("prctl(PR_SET_PDEATHSIG)");
        if (getppid() != parent_)
            return base::fail(base::ErrorKind::Died, "the parent has ended");
        return {};
    }

private:
    int signal_ = 0;
    pid_t parent_ = getppid();
};

Result<void> set_owner(int fd, const img::fown_entry &owner) {
    if (owner.pid_type() > 2)
        return base::bad_image("a file's owner is of an unknown kind");
    f_owner_ex who{static_cast<__pid_type>(owner.pid_type()), static_cast<pid_t>(owner.pid())};
    const ParentDeath death;
    uid_t real, effective, saved;
    getresuid(&real, &effective, &saved);
    const bool other = owner.uid() != real || owner.euid() != effective;
    // Raw calls: libc's would change all threads.
    if (other && syscall(SYS_setresuid, owner.uid(), owner.euid(), 0) < 0)
        return base::fail_sys("take on the user ids of a file's owner");
    int r = fcntl(fd, F_SETOWN_EX, &who);
    int code = errno;
    if (other && syscall(SYS_setresuid, real, effective, saved) < 0)
        return base::fail_sys("take back our user ids");
    if (other)
        TRY(death.restore());
    if (r < 0)
        return base::fail_sys(code, "fcntl(F_SETOWN_EX)");
    return {};
}

} // namespace

Result<void> restore_owner(int fd, const img::fown_entry &owner, uint32_t flags) {
    if (owner.signum() && fcntl(fd, F_SETSIG, owner.signum()) < 0)
        return base::fail_sys("fcntl(F_SETSIG)");
    if (owner.pid())
        TRY(set_owner(fd, owner));
    if ((flags & O_ASYNC) && fcntl(fd, F_SETFL, static_cast<int>(flags)) < 0)
        return base::fail_sys("fcntl(F_SETFL, O_ASYNC)");
    return {};
}

} // namespace resource
