#include "criu/resource/socket/peer_identity.hh"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fmt/format.h>
#include <grp.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace resource {
namespace {

using base::Result;
using Work = std::function<Result<void>()>;

/// What the helper reports.
struct Report {
    bool failed;
    int code;
    char text[1000];

    void write(const base::Error &error) {
        failed = true;
        code = error.code();
        std::snprintf(text, sizeof text, "%s", error.message().c_str());
    }
};

std::vector<uint32_t> own_groups() {
    const int count = getgroups(0, nullptr);
    std::vector<gid_t> groups(static_cast<size_t>(std::max(count, 0)));
    const int got = getgroups(static_cast<int>(groups.size()), groups.data());
    groups.resize(static_cast<size_t>(std::max(got, 0)));
    std::ranges::sort(groups);
    return groups;
}

// Raw calls: libc's would change all threads. The real user id stays for last: it is what allows the rest.
Result<void> take_on(const Identity &identity) {
    const Identity own = own_identity();
    if (own.uid == identity.uid && own.gid == identity.gid && own.groups == identity.groups)
        return {};
    if (syscall(SYS_setgroups, identity.groups.size(), identity.groups.data()) < 0 ||
        syscall(SYS_setresgid, identity.gid, identity.gid, identity.gid) < 0 ||
        syscall(SYS_setresuid, identity.uid, identity.uid, identity.uid) < 0)
        return base::fail_sys(
            fmt::format("take on the ids of a socket's owner (user {}, group {})", identity.uid, identity.gid));
    return {};
}

Result<void> take_on_and_work(const Identity &identity, const Work &work) {
    TRY(take_on(identity));
    return work();
}

// Credentials belong to threads; the thread that took them on is not used for anything else.
Result<void> run_in_thread(const Identity &identity, const Work &work) {
    Result<void> outcome;
    const int dumpable = prctl(PR_GET_DUMPABLE);
    std::thread([&] { outcome = take_on_and_work(identity, work); }).join();
    prctl(PR_SET_DUMPABLE, dumpable);
    return outcome;
}

pid_t clone_with_pid(uint32_t wanted) {
    const auto pid = static_cast<pid_t>(wanted);
    clone_args args{};
    args.flags = CLONE_FILES;
    if (wanted) {
        args.set_tid = reinterpret_cast<uint64_t>(&pid);
        args.set_tid_size = 1;
    }
    return static_cast<pid_t>(syscall(SYS_clone3, &args, sizeof args));
}

Result<void> run_in_process(base::Log &log, const Identity &identity, const Work &work) {
    void *page = mmap(nullptr, sizeof(Report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return base::fail_sys("map a page");
    auto *report = static_cast<Report *>(page);
    pid_t pid = clone_with_pid(identity.pid);
    if (pid < 0 && identity.pid) {
        log.warn(fmt::format("a socket's peer was process {}; another process has that pid now, and SO_PEERCRED will "
                             "tell another",
                             identity.pid));
        pid = clone_with_pid(0);
    }
    if (pid == 0) {
        if (auto outcome = take_on_and_work(identity, work); !outcome)
            report->write(outcome.error());
        _exit(0);
    }
    const int code = errno;
    int status = 0;
    while (pid > 0 && waitpid(pid, &status, __WALL) < 0 && errno == EINTR) {
    }
    const Report copy = *report;
    munmap(page, sizeof(Report));
    if (pid < 0)
        return base::fail_sys(code, "create a process for a socket's peer");
    if (!WIFEXITED(status))
        return base::fail(base::ErrorKind::Died, "the process for a socket's peer was killed");
    if (!copy.failed)
        return {};
    return base::fail(base::ErrorKind::System, copy.text);
}

} // namespace

Identity own_identity() {
    return {static_cast<uint32_t>(getpid()), geteuid(), getegid(), own_groups()};
}

Identity identity_of(bool present, const img::ext_credentials &credentials) {
    if (!present)
        return own_identity();
    Identity identity{credentials.pid(), credentials.uid(), credentials.gid(), {}};
    identity.groups.assign(credentials.groups().begin(), credentials.groups().end());
    std::ranges::sort(identity.groups);
    return identity;
}

Result<void> run_as(base::Log &log, const Identity &identity, const Work &work) {
    const Identity own = own_identity();
    if (identity == own)
        return work();
    if (identity.pid == own.pid)
        return run_in_thread(identity, work);
    return run_in_process(log, identity, work);
}

Result<SharedNumbers> SharedNumbers::make(size_t count) {
    void *memory = mmap(nullptr, std::max<size_t>(count, 1) * sizeof(int), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return base::fail_sys("map memory to share");
    return SharedNumbers(static_cast<int *>(memory), std::max<size_t>(count, 1));
}

SharedNumbers::~SharedNumbers() {
    if (numbers_)
        munmap(numbers_, count_ * sizeof(int));
}

} // namespace resource
