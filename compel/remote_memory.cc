#include "compel/remote_memory.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace compel {

Result<RemoteMemory> RemoteMemory::open(Pid pid) {
    base::UniqueFd fd(::open(fmt::format("/proc/{}/mem", pid.value).c_str(), O_RDWR | O_CLOEXEC));
    if (!fd)
        return base::fail_sys(fmt::format("open /proc/{}/mem", pid.value));
    return RemoteMemory(std::move(fd));
}

size_t RemoteMemory::read_some(uint64_t address, std::span<std::byte> into) const {
    size_t done = 0;
    while (done < into.size()) {
        ssize_t n = pread(fd_.get(), into.data() + done, into.size() - done, static_cast<off_t>(address + done));
        if (n <= 0)
            break;
        done += static_cast<size_t>(n);
    }
    return done;
}

Result<void> RemoteMemory::read(uint64_t address, std::span<std::byte> into) const {
    errno = 0;
    size_t done = read_some(address, into);
    if (done == into.size())
        return {};
    // A dead process reads as end of file.
    int code = errno ? errno : ESRCH;
    return base::fail_sys(code, fmt::format("read {} bytes of memory at {:#x}", into.size(), address + done));
}

Result<void> RemoteMemory::write(uint64_t address, std::span<const std::byte> from) const {
    size_t done = 0;
    while (done < from.size()) {
        ssize_t n = pwrite(fd_.get(), from.data() + done, from.size() - done, static_cast<off_t>(address + done));
        if (n <= 0)
            return base::fail_sys(n < 0 ? errno : ESRCH, fmt::format("write memory at {:#x}", address + done));
        done += static_cast<size_t>(n);
    }
    return {};
}

} // namespace compel
