#include "criu/engine/restore/vdso32.hh"

#include "compel/agent/syscall.hh"
#include "criu/kernel/child.hh"
#include "criu/kernel/io.hh"
#include "criu/parse/maps.hh"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace restore {
namespace {

/// What the child tells.
struct Answer {
    uint64_t data_size, size;
    char image[256u << 10];
};

Result<std::vector<parse::Vma>> special_mappings_of_self() {
    const std::string maps = TRY(kernel::read_file(AT_FDCWD, "/proc/self/maps"));
    auto vmas = TRY(parse::parse_maps(maps));
    std::erase_if(vmas, [](const parse::Vma &vma) { return vma.name != "[vdso]" && !vma.name.starts_with("[vvar"); });
    return vmas;
}

/// The kernel maps one vdso a process, so the child's own goes first. Nothing here asks for the time afterwards.
Result<void> exchange_vdso(Answer *answer) {
    constexpr long kMapVdso32 = 0x2002; // ARCH_MAP_VDSO_32
    constexpr uint64_t kGetpid32 = 20;
    constexpr uint64_t kFree = 0x60000000; // a wish
    for (const parse::Vma &vma : TRY(special_mappings_of_self()))
        munmap(reinterpret_cast<void *>(vma.start), vma.size());
    if (syscall(SYS_arch_prctl, kMapVdso32, kFree) < 0)
        return base::fail_sys("arch_prctl(ARCH_MAP_VDSO_32)");
    for (const parse::Vma &vma : TRY(special_mappings_of_self()))
        if (vma.name != "[vdso]") {
            answer->data_size += vma.size();
        } else if (vma.size() <= sizeof answer->image) {
            answer->size = vma.size();
            memcpy(answer->image, reinterpret_cast<const void *>(vma.start), vma.size());
        }
    // Where 32-bit calls are switched off (ia32_emulation=0) this ends the child.
    return raw_syscall32(kGetpid32, 0, 0, 0, 0, 0) == getpid() ? Result<void>() : base::fail_sys(ENOSYS, "int 0x80");
}

} // namespace

Result<Vdso32> read_vdso32() {
    void *shared = mmap(nullptr, sizeof(Answer), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return base::fail_sys("mmap");
    auto *answer = static_cast<Answer *>(shared);
    const pid_t pid = fork();
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL);
        _exit(exchange_vdso(answer) ? 0 : 1);
    }
    const Result<int> code = pid < 0 ? Result<int>(base::fail_sys("fork")) : kernel::exit_code(pid);
    Vdso32 vdso{std::string(answer->image, std::min(answer->size, sizeof answer->image)), answer->data_size};
    munmap(shared, sizeof(Answer));
    if (!code || *code || vdso.image.empty())
        return base::fail(base::Error(base::ErrorKind::Unsupported, "this kernel runs no 32-bit programs")
                              .hint("it needs CONFIG_IA32_EMULATION, and no ia32_emulation=0 among its parameters"));
    return vdso;
}

} // namespace restore
