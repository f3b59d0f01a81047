// Probes ask for an effect, not for existence: a call that is there but forbidden, or a bit that never changes, counts
// as missing. Where the effect itself would leave traces, an argument is chosen that a kernel with the feature refuses
// in a way that one without it does not.

#include "criu/kernel/features.hh"

#include "base/unique_fd.hh"
#include "criu/kernel/child.hh"
#include "criu/kernel/io.hh"
#include "kernel_abi/pagemap_scan.hh"
#include "kernel_abi/process.hh"
#include "kernel_abi/userfaultfd.hh"

#include <asm/prctl.h>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <memory>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace kernel {

namespace {

using base::UniqueFd;
using namespace kernel_abi;

constexpr size_t kPage = 4096;

/// Success if `ok`, otherwise the current errno.
Result<void> expect(bool ok, const char *what) {
    if (!ok)
        return base::fail_sys(what);
    return {};
}

/// One private page, unmapped when it goes.
class Page {
public:
    Page() : address_(mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {}
    Page(const Page &) = delete;
    Page &operator=(const Page &) = delete;
    ~Page() {
        if (*this)
            munmap(address_, kPage);
    }
    explicit operator bool() const { return address_ != MAP_FAILED; }
    char *data() const { return static_cast<char *>(address_); }
    uint64_t address() const { return reinterpret_cast<uint64_t>(address_); }

private:
    void *address_;
};

Result<void> scan_page(uint64_t categories) {
    UniqueFd fd = TRY(open_at(AT_FDCWD, "/proc/self/pagemap", O_RDONLY));
    Page page;
    PageRegion region{};
    PmScanArg arg{.size = sizeof arg,
                  .start = page.address(),
                  .end = page.address() + kPage,
                  .vec = reinterpret_cast<uint64_t>(&region),
                  .vec_len = 1,
                  .category_anyof_mask = categories,
                  .return_mask = categories};
    return expect(ioctl(fd.get(), kPagemapScan, &arg) >= 0, "PAGEMAP_SCAN");
}

Result<void> probe_pagemap_scan() {
    return scan_page(kPageIsPresent);
}
Result<void> probe_pagemap_scan_guard() {
    return scan_page(kPageIsPresent | kPageIsGuard);
}

Result<void> probe_procmap_query() {
    UniqueFd fd = TRY(open_at(AT_FDCWD, "/proc/self/maps", O_RDONLY));
    ProcmapQuery query{.size = sizeof query, .query_flags = kProcmapCoveringOrNext};
    return expect(ioctl(fd.get(), kProcmapQuery, &query) == 0, "PROCMAP_QUERY");
}

Result<void> probe_clone3_set_tid() {
    // An impossible pid: EINVAL where set_tid is understood, before any privilege is looked at; E2BIG or ENOSYS else.
    pid_t impossible = -1;
    clone_args args{};
    args.exit_signal = SIGCHLD;
    args.set_tid = reinterpret_cast<uint64_t>(&impossible);
    args.set_tid_size = 1;
    long pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0)
        _exit(0);
    return expect(pid < 0 && errno == EINVAL, "clone3(set_tid)");
}

Result<UniqueFd> open_pidfd(pid_t pid, unsigned flags) {
    UniqueFd fd(static_cast<int>(syscall(SYS_pidfd_open, pid, flags)));
    if (!fd)
        return base::fail_sys("pidfd_open");
    return fd;
}

Result<void> probe_pidfd_open() {
    TRY(open_pidfd(getpid(), 0));
    return {};
}

Result<void> probe_pidfd_thread() {
    TRY(open_pidfd(static_cast<pid_t>(syscall(SYS_gettid)), kPidfdThread));
    return {};
}

Result<void> probe_pidfd_getfd() {
    UniqueFd pidfd = TRY(open_pidfd(getpid(), 0));
    UniqueFd copy(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd.get(), pidfd.get(), 0)));
    return expect(static_cast<bool>(copy), "pidfd_getfd");
}

Result<void> probe_dupfd_query() {
    UniqueFd fd(epoll_create1(EPOLL_CLOEXEC));
    return expect(fcntl(fd.get(), kFDupfdQuery, fd.get()) == 1, "F_DUPFD_QUERY");
}

Result<void> probe_kcmp_epoll() {
    UniqueFd outer(epoll_create1(EPOLL_CLOEXEC)), inner(epoll_create1(EPOLL_CLOEXEC));
    epoll_event event{};
    if (epoll_ctl(outer.get(), EPOLL_CTL_ADD, inner.get(), &event) != 0)
        return base::fail_sys("epoll_ctl");
    kcmp_epoll_slot slot{static_cast<uint32_t>(outer.get()), static_cast<uint32_t>(inner.get()), 0};
    long same = syscall(SYS_kcmp, getpid(), getpid(), KCMP_EPOLL_TFD, inner.get(), &slot);
    return expect(same == 0, "kcmp(KCMP_EPOLL_TFD)");
}

/// ptrace for requests glibc has no name for.
long trace(int request, pid_t pid, uint64_t addr, void *data) {
    return syscall(SYS_ptrace, request, pid, addr, data);
}

Result<void> probe_rseq() {
    Tracee child = TRY(Tracee::start());
    RseqConfiguration out{};
    return expect(trace(kPtraceGetRseqConfiguration, child.pid(), sizeof out, &out) > 0,
                  "PTRACE_GET_RSEQ_CONFIGURATION");
}

Result<void> probe_syscall_user_dispatch() {
    Tracee child = TRY(Tracee::start());
    SyscallUserDispatchConfig out{};
    return expect(trace(kPtraceGetSyscallUserDispatch, child.pid(), sizeof out, &out) >= 0,
                  "PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG");
}

Result<void> probe_seccomp_filters() {
    Tracee child = TRY(Tracee::start());
    // The child has no filter: EINVAL or ENOENT say so, EIO that the request is unknown, EACCES that it is not allowed.
    long got = trace(PTRACE_SECCOMP_GET_FILTER, child.pid(), 0, nullptr);
    return expect(got >= 0 || errno == EINVAL || errno == ENOENT, "PTRACE_SECCOMP_GET_FILTER");
}

Result<void> probe_seccomp_suspend() {
    Tracee child = TRY(Tracee::start());
    void *options = reinterpret_cast<void *>(static_cast<uintptr_t>(PTRACE_O_SUSPEND_SECCOMP));
    return expect(trace(PTRACE_SETOPTIONS, child.pid(), 0, options) == 0, "PTRACE_O_SUSPEND_SECCOMP");
}

Result<void> uffd_with(uint64_t features) {
    UniqueFd fd(static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK)));
    if (!fd)
        return base::fail_sys("userfaultfd");
    uffdio_api api{.api = UFFD_API};
    if (ioctl(fd.get(), UFFDIO_API, &api) != 0)
        return base::fail_sys("UFFDIO_API");
    if ((api.features & features) != features)
        return base::fail(base::ErrorKind::Unsupported, "userfaultfd lacks a feature");
    return {};
}

Result<void> probe_uffd() {
    return uffd_with(0);
}
Result<void> probe_uffd_move() {
    return uffd_with(kUffdMove);
}
Result<void> probe_uffd_wp_async() {
    return uffd_with(kUffdWpAsync | kUffdWpUnpopulated);
}
Result<void> probe_uffd_events() {
    return uffd_with(UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE |
                     UFFD_FEATURE_EVENT_UNMAP);
}

Result<void> probe_membarrier() {
    return expect(syscall(SYS_membarrier, kMembarrierGetRegistrations, 0, 0) >= 0, "MEMBARRIER_CMD_GET_REGISTRATIONS");
}

Result<void> probe_timer_ids() {
    constexpr int kGet = 2;
    return expect(prctl(kPrTimerCreateRestoreIds, kGet, 0, 0, 0) >= 0, "PR_TIMER_CREATE_RESTORE_IDS");
}

/// While a vdso is mapped a kernel that could map another one says EEXIST.
Result<void> map_vdso(int code) {
    long got = syscall(SYS_arch_prctl, code, 0);
    return expect(got > 0 || errno == EEXIST, "arch_prctl(ARCH_MAP_VDSO)");
}
Result<void> probe_map_vdso64() {
    return map_vdso(kArchMapVdso64);
}
Result<void> probe_map_vdso32() {
    return map_vdso(kArchMapVdso32);
}

Result<void> probe_timens() {
    TRY(read_file(AT_FDCWD, "/proc/self/timens_offsets"));
    return {};
}

/// The soft-dirty bit of the page in /proc/self/pagemap.
Result<bool> soft_dirty(const Page &page) {
    UniqueFd fd = TRY(open_at(AT_FDCWD, "/proc/self/pagemap", O_RDONLY));
    uint64_t entry = 0;
    auto offset = static_cast<off_t>(page.address() / kPage * sizeof entry);
    if (pread(fd.get(), &entry, sizeof entry, offset) != sizeof entry)
        return base::fail_sys("pagemap");
    constexpr int kSoftDirtyBit = 55;
    return (entry >> kSoftDirtyBit) & 1;
}

Result<void> probe_soft_dirty() {
    // Writing clear_refs succeeds on kernels that have no such bits: only a bit that changes counts.
    Page page;
    page.data()[0] = 1;
    bool before = TRY(soft_dirty(page));
    TRY(write_file(AT_FDCWD, "/proc/self/clear_refs", "4"));
    bool after = TRY(soft_dirty(page));
    if (!before || after)
        return base::fail(base::ErrorKind::Unsupported, "soft-dirty bits do not follow writes");
    return {};
}

Result<void> probe_guard_pages() {
    Page page;
    return expect(madvise(page.data(), kPage, kMadvGuardInstall) == 0, "MADV_GUARD_INSTALL");
}

Result<void> probe_memfd_hugetlb() {
    UniqueFd fd(memfd_create("probe", MFD_CLOEXEC | MFD_HUGETLB));
    return expect(static_cast<bool>(fd), "memfd_create(MFD_HUGETLB)");
}

Result<void> probe_buf_lock() {
    UniqueFd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    int value = 0;
    socklen_t size = sizeof value;
    return expect(getsockopt(fd.get(), SOL_SOCKET, kSoBufLock, &value, &size) == 0, "SO_BUF_LOCK");
}

Result<void> probe_openat2() {
    open_how how{.flags = O_PATH | O_CLOEXEC};
    UniqueFd fd(static_cast<int>(syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof how)));
    return expect(static_cast<bool>(fd), "openat2");
}

Result<void> probe_set_group() {
    // Unknown flags are refused before the descriptors are looked at.
    constexpr unsigned kEmptyPaths = 0x04 | 0x40;
    long got = syscall(SYS_move_mount, -1, "", -1, "", kMoveMountSetGroup | kEmptyPaths);
    return expect(got == 0 || errno == EBADF, "move_mount(MOVE_MOUNT_SET_GROUP)");
}

struct Row {
    Feature feature;
    std::string_view name;
    Result<void> (*probe)();
};

constexpr std::array<Row, kFeatureCount> kRows{{
    {Feature::PagemapScan, "PAGEMAP_SCAN", probe_pagemap_scan},
    {Feature::PagemapScanGuard, "PAGEMAP_SCAN of guard pages", probe_pagemap_scan_guard},
    {Feature::ProcmapQuery, "PROCMAP_QUERY", probe_procmap_query},
    {Feature::Clone3SetTid, "clone3 with set_tid", probe_clone3_set_tid},
    {Feature::PidfdOpen, "pidfd_open", probe_pidfd_open},
    {Feature::PidfdGetfd, "pidfd_getfd", probe_pidfd_getfd},
    {Feature::PidfdThread, "pidfds of threads", probe_pidfd_thread},
    {Feature::DupfdQuery, "F_DUPFD_QUERY", probe_dupfd_query},
    {Feature::KcmpEpoll, "KCMP_EPOLL_TFD", probe_kcmp_epoll},
    {Feature::RseqConfiguration, "PTRACE_GET_RSEQ_CONFIGURATION", probe_rseq},
    {Feature::SyscallUserDispatch, "PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG", probe_syscall_user_dispatch},
    {Feature::SeccompFilters, "PTRACE_SECCOMP_GET_FILTER", probe_seccomp_filters},
    {Feature::SeccompSuspend, "PTRACE_O_SUSPEND_SECCOMP", probe_seccomp_suspend},
    {Feature::Userfaultfd, "userfaultfd", probe_uffd},
    {Feature::UffdMove, "UFFDIO_MOVE", probe_uffd_move},
    {Feature::UffdWpAsync, "asynchronous write protection", probe_uffd_wp_async},
    {Feature::UffdEvents, "userfaultfd events", probe_uffd_events},
    {Feature::MembarrierGet, "MEMBARRIER_CMD_GET_REGISTRATIONS", probe_membarrier},
    {Feature::TimerRestoreIds, "PR_TIMER_CREATE_RESTORE_IDS", probe_timer_ids},
    {Feature::MapVdso64, "ARCH_MAP_VDSO_64", probe_map_vdso64},
    {Feature::MapVdso32, "ARCH_MAP_VDSO_32", probe_map_vdso32},
    {Feature::TimeNamespace, "time namespaces", probe_timens},
    {Feature::SoftDirty, "soft-dirty bits", probe_soft_dirty},
    {Feature::GuardPages, "MADV_GUARD_INSTALL", probe_guard_pages},
    {Feature::MemfdHugetlb, "memfds of huge pages", probe_memfd_hugetlb},
    {Feature::SockoptBufLock, "SO_BUF_LOCK", probe_buf_lock},
    {Feature::Openat2, "openat2", probe_openat2},
    {Feature::MoveMountSetGroup, "MOVE_MOUNT_SET_GROUP", probe_set_group},
}};

static_assert([] {
    for (size_t i = 0; i < kRows.size(); ++i)
        if (static_cast<size_t>(kRows[i].feature) != i)
            return false;
    return true;
}());

} // namespace

std::string_view feature_name(Feature feature) {
    return kRows[static_cast<size_t>(feature)].name;
}

Result<void> probe_feature(Feature feature) {
    return kRows[static_cast<size_t>(feature)].probe();
}

} // namespace kernel
