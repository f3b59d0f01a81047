// Probes about processes, memory, signals and terminals.

#include "criu/engine/check/probes.hh"

#include "base/unique_fd.hh"
#include "criu/kernel/child.hh"
#include "criu/kernel/io.hh"
#include "criu/parse/maps.hh"

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/kcmp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <termios.h>
#include <unistd.h>

namespace check {

namespace {

using base::UniqueFd;

Result<void> expect_of_task(bool ok, const char *what) {
    if (!ok)
        return base::fail_sys(what);
    return {};
}

long trace(int request, pid_t pid, uint64_t addr, void *data) {
    return syscall(SYS_ptrace, request, pid, addr, data);
}

Result<size_t> mapping_size(uint64_t start) {
    std::string text = TRY(kernel::read_file(AT_FDCWD, "/proc/self/maps"));
    std::vector<parse::Vma> vmas = TRY(parse::parse_maps(text));
    auto vma = std::ranges::find(vmas, start, &parse::Vma::start);
    if (vma == vmas.end())
        return base::unsupported("a mapping is not in /proc/self/maps");
    return vma->size();
}

} // namespace

Result<void> kcmp_basic() {
    UniqueFd fd(dup(STDIN_FILENO));
    pid_t self = getpid();
    for (int kind : {KCMP_VM, KCMP_FILES, KCMP_FS, KCMP_SIGHAND, KCMP_IO, KCMP_SYSVSEM})
        if (syscall(SYS_kcmp, self, self, kind, 0, 0) != 0)
            return base::fail_sys("kcmp");
    return {};
}

Result<void> mm_map() {
    unsigned size = 0;
    if (prctl(PR_SET_MM, PR_SET_MM_MAP_SIZE, &size, 0, 0) != 0)
        return base::fail_sys("PR_SET_MM_MAP_SIZE");
    return size == sizeof(prctl_mm_map) ? Result<void>() : base::unsupported("another size of prctl_mm_map");
}

Result<void> owner_uids() {
    constexpr int kFGetOwnerUids = 17;
    UniqueFd fd = TRY(kernel::open_at(AT_FDCWD, "/", O_RDONLY | O_DIRECTORY));
    uint32_t uids[2];
    return expect_of_task(fcntl(fd.get(), kFGetOwnerUids, uids) == 0, "F_GETOWNER_UIDS");
}

Result<void> unaligned_vmsplice() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return base::fail_sys("pipe2");
    UniqueFd read_end(ends[0]), write_end(ends[1]);
    alignas(16) char buffer[64] = "unaligned";
    iovec part{buffer + 1, 2};
    char got[2] = {};
    bool ok = vmsplice(write_end.get(), &part, 1, SPLICE_F_NONBLOCK) == 2 && read(read_end.get(), got, 2) == 2 &&
              std::memcmp(got, buffer + 1, 2) == 0;
    return expect_of_task(ok, "vmsplice of an unaligned range");
}

Result<void> tty_ioctls() {
    UniqueFd master = TRY(kernel::open_at(AT_FDCWD, "/dev/ptmx", O_RDWR | O_NOCTTY));
    int value = 1;
    if (ioctl(master.get(), TIOCSPTLCK, &value) != 0)
        return base::fail_sys("TIOCSPTLCK");
    for (auto [request, what] : {std::pair<unsigned long, const char *>{TIOCGPTLCK, "TIOCGPTLCK"},
                                 {TIOCGPKT, "TIOCGPKT"},
                                 {TIOCGEXCL, "TIOCGEXCL"},
                                 {TIOCGPTN, "TIOCGPTN"}})
        if (ioctl(master.get(), request, &value) != 0)
            return base::fail_sys(what);
    return {};
}

Result<void> queue_siginfo() {
    return kernel::in_child("rt_sigqueueinfo of any code", [] {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGRTMIN);
        sigprocmask(SIG_BLOCK, &set, nullptr);
        siginfo_t info{};
        info.si_signo = SIGRTMIN;
        info.si_code = SI_KERNEL; // only a task itself may send codes of the kernel
        if (syscall(SYS_rt_sigqueueinfo, getpid(), SIGRTMIN, &info) != 0)
            return errno;
        siginfo_t got{};
        timespec none{};
        return sigtimedwait(&set, &got, &none) == SIGRTMIN && got.si_code == SI_KERNEL ? 0 : EINVAL;
    });
}

Result<void> peek_siginfo() {
    kernel::Tracee child = TRY(kernel::Tracee::start());
    __ptrace_peeksiginfo_args args{};
    args.nr = 1;
    siginfo_t info{};
    long got = syscall(SYS_ptrace, PTRACE_PEEKSIGINFO, child.pid(), &args, &info);
    return expect_of_task(got >= 0, "PTRACE_PEEKSIGINFO");
}

Result<void> move_special_mapping() {
    // In a child: libc's pointers into the vdso are stale afterwards.
    return kernel::in_child("mremap of the vdso", [] {
        auto text = kernel::read_file(AT_FDCWD, "/proc/self/maps");
        auto vmas = text ? parse::parse_maps(*text) : base::fail_sys(EIO, "maps");
        if (!vmas)
            return EIO;
        auto vdso = std::ranges::find(*vmas, "[vdso]", &parse::Vma::name);
        if (vdso == vmas->end())
            return 0; // nothing to move on this machine
        void *to = mmap(nullptr, vdso->size(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        void *from = reinterpret_cast<void *>(vdso->start);
        void *got = mremap(from, vdso->size(), vdso->size(), MREMAP_MAYMOVE | MREMAP_FIXED, to);
        return got == to ? 0 : errno;
    });
}

Result<void> aio_remap() {
    aio_context_t context = 0;
    if (syscall(SYS_io_setup, 1, &context) != 0)
        return base::fail_sys("io_setup");
    // How many pages the ring of one event takes depends on the number of processors.
    size_t size = TRY(mapping_size(context));
    void *to = mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *moved = mremap(reinterpret_cast<void *>(context), size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    auto now = moved == MAP_FAILED ? context : reinterpret_cast<aio_context_t>(moved);
    io_event event{};
    timespec none{};
    bool works = moved != MAP_FAILED && syscall(SYS_io_getevents, now, 0, 1, &event, &none) == 0;
    int code = errno;
    syscall(SYS_io_destroy, now);
    if (!works)
        return base::fail_sys(code, "an AIO ring does not follow its mapping");
    return {};
}

Result<void> breakpoints() {
#if defined(__x86_64__)
    kernel::Tracee child = TRY(kernel::Tracee::start());
    constexpr uint64_t kEnableFirst = 1;
    auto reg = [](size_t n) { return offsetof(user, u_debugreg) + n * sizeof(user::u_debugreg[0]); };
    void *address = reinterpret_cast<void *>(reinterpret_cast<uint64_t>(&breakpoints));
    if (trace(PTRACE_POKEUSER, child.pid(), reg(0), address) != 0 ||
        trace(PTRACE_POKEUSER, child.pid(), reg(7), reinterpret_cast<void *>(kEnableFirst)) != 0)
        return base::fail_sys("debug registers");
    return {};
#else
    return base::unsupported("hardware breakpoints are not implemented for this architecture");
#endif
}

} // namespace check
