#include "criu/resource/file/anon/secret_memory.hh"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace resource {

bool is_secret_memory(const OpenFile &file) {
    return S_ISREG(file.stat.st_mode) && file.link.starts_with("/secretmem");
}

Result<base::UniqueFd> copy_secret_memory(int fd, uint64_t size) {
    base::UniqueFd copy(memfd_create("copy", MFD_CLOEXEC));
    if (!copy)
        return base::fail_sys("memfd_create");
    if (!size)
        return copy;
    void *at = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return base::fail_sys("map secret memory");
    const auto *bytes = static_cast<const std::byte *>(at);
    Result<void> outcome;
    for (uint64_t done = 0; outcome && done < size;) {
        const ssize_t n = pwrite(copy.get(), bytes + done, size - done, static_cast<off_t>(done));
        if (n <= 0)
            outcome = base::fail_sys("copy secret memory");
        else
            done += static_cast<uint64_t>(n);
    }
    munmap(at, size);
    TRY(std::move(outcome));
    return copy;
}

Result<base::UniqueFd> create_secret_memory() {
    base::UniqueFd fd(static_cast<int>(syscall(SYS_memfd_secret, O_CLOEXEC)));
    if (!fd)
        return base::fail(std::move(base::Error::sys("memfd_secret")
                                        .hint("the kernel has secret memory only with secretmem.enable=1 on its "
                                              "command line (Linux 6.5: by default)")));
    return fd;
}

} // namespace resource
