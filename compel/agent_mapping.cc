// How the agent's memory comes into being in a process that has hardly any limits left.
#include "compel/blob.hh"
#include "compel/injection.hh"

#include <cerrno>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

namespace compel {

// The soft limit may go up to the hard one. From here to lower_limit() the path of the thread leads through the boot
// code's call that puts the old one back, should we die.
Result<bool> Injection::raise_limit(uint32_t kind) {
    const uint64_t wanted = limit_ + sizeof(rlimit);
    if (TRY(remote_syscall(SYS_prlimit64, {0, kind, 0, limit_})) < 0)
        return false;
    auto limit = TRY(memory_->read_value(base::RemotePtr<rlimit>(limit_)));
    if (limit.rlim_cur == limit.rlim_max)
        return false;
    limit.rlim_cur = limit.rlim_max;
    TRY(memory_->write_value(base::RemotePtr<rlimit>(wanted), limit));
    raised_ = kind;
    return TRY(remote_syscall(SYS_prlimit64, {0, kind, wanted, 0})) >= 0;
}

Result<void> Injection::lower_limit() {
    if (!raised_)
        return {};
    const int64_t r = TRY(remote_syscall(SYS_prlimit64, {0, *raised_, limit_, 0}));
    raised_.reset();
    if (r < 0)
        return base::fail_sys(static_cast<int>(-r), "put back a limit of the task");
    return {};
}

// Private writable memory counts as data (RLIMIT_DATA), shared memory does not.
Result<int64_t> Injection::map_somehow(uint64_t protection) {
    int64_t r = -ENOMEM;
    for (const uint64_t sharing : {uint64_t{MAP_PRIVATE}, uint64_t{MAP_SHARED}})
        if (r == -ENOMEM)
            r = TRY(remote_syscall(SYS_mmap, {site_.agent_base, size_, protection,
                                              sharing | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE,
                                              static_cast<uint64_t>(-1), 0}));
    return r;
}

Result<void> Injection::map_agent() {
    constexpr uint64_t kAll = PROT_READ | PROT_WRITE | PROT_EXEC;
    mapped_ = true; // also if we fail behind the call: nothing else is there to be unmapped
    int64_t r = TRY(map_somehow(kAll));
    if (r == -ENOMEM && TRY(raise_limit(RLIMIT_AS)))
        r = TRY(map_somehow(kAll));
    if (r == -EAGAIN && TRY(raise_limit(RLIMIT_MEMLOCK))) // mlockall(MCL_FUTURE)
        r = TRY(map_somehow(kAll));
    const bool refused = r == -EACCES || r == -EPERM; // PR_SET_MDWE, SELinux execmem
    if (refused)
        r = TRY(map_somehow(PROT_READ | PROT_EXEC));
    TRY(lower_limit());
    if (r < 0) {
        mapped_ = false;
        auto error = base::Error::sys(static_cast<int>(-r), "map the agent");
        if (r == -ENOMEM)
            error.hint("its limit on address space (ulimit -v) leaves no room for that, or it has as many mappings as "
                       "the kernel allows (vm.max_map_count): prlimit --as raises the limit of a running process");
        if (r == -EAGAIN)
            error.hint("it locks all its memory (mlockall), and its RLIMIT_MEMLOCK leaves no room for more: "
                       "prlimit --memlock raises it");
        return base::fail(std::move(error));
    }
    TRY(memory_->write(code_, agent_blob()));
    if (refused) {
        r = TRY(remote_syscall(SYS_mprotect,
                               {code_ + agent_code_size(), size_ - agent_code_size(), PROT_READ | PROT_WRITE}));
        if (r < 0)
            return base::fail_sys(static_cast<int>(-r), "make the agent's data writable");
    }
    return {};
}

} // namespace compel
