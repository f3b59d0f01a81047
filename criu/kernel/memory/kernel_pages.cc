// Both tables begin at random addresses, and few kernels tell the names of variables. So they are found by a page of
// our own: pagemap tells its number, a pipe that holds it leads to its description, and its contents, which occur once,
// confirm the place where all memory is mapped. That begins at a multiple of 1 GiB below any allocated object.
#include "criu/kernel/memory/kernel_pages.hh"

#include "criu/kernel/io.hh"

#include <cstring>
#include <fcntl.h>
#include <memory>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <unistd.h>

namespace resource {
namespace {

constexpr uint64_t kPageSize = 4096, kStep = uint64_t{1} << 30, kMostSteps = 65536;

struct Unmap {
    void operator()(std::byte *page) const { munmap(page, kPageSize); }
};
using OwnPage = std::unique_ptr<std::byte, Unmap>;

Result<OwnPage> make_page() {
    void *page = mmap(nullptr, kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return base::fail_sys("mmap");
    OwnPage own(static_cast<std::byte *>(page));
    if (getrandom(page, 64, 0) != 64)
        return base::fail_sys("getrandom");
    return own;
}

/// The page must be in memory to stay: call this while a pipe holds it.
Result<uint64_t> page_number(const std::byte *page) {
    const auto fd = TRY(kernel::open_at(AT_FDCWD, "/proc/self/pagemap", O_RDONLY));
    uint64_t entry = 0;
    const auto at = static_cast<off_t>(reinterpret_cast<uintptr_t>(page) / kPageSize * sizeof entry);
    if (pread(fd.get(), &entry, sizeof entry, at) != sizeof entry)
        return base::fail_sys("read /proc/self/pagemap");
    const uint64_t number = entry & ((uint64_t{1} << 55) - 1);
    if (!number)
        return base::unsupported("the kernel does not tell the numbers of pages (CAP_SYS_ADMIN)");
    return number;
}

struct OwnPipe {
    base::UniqueFd read, write;
};

/// A pipe with nothing but the page in it.
Result<OwnPipe> pipe_with(std::byte *page) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return base::fail_sys("pipe2");
    OwnPipe pipe{base::UniqueFd(ends[0]), base::UniqueFd(ends[1])};
    const iovec part{page, kPageSize};
    if (vmsplice(pipe.write.get(), &part, 1, 0) != static_cast<ssize_t>(kPageSize))
        return base::fail_sys("vmsplice");
    return pipe;
}

Result<uint64_t> description_in(const KernelMemory &memory, const OwnPipe &pipe) {
    const uint64_t file = TRY(memory.file(pipe.read.get())), inner = TRY(memory.member(file, "file", "private_data")),
                   first = TRY(memory.member(inner, "pipe_inode_info", "bufs"));
    return memory.member(first, "pipe_buffer", "page");
}

Result<uint64_t> find_contents(const KernelMemory &memory, const std::byte *page, uint64_t number) {
    uint64_t start = TRY(memory.current_task()) & ~(kStep - 1);
    for (uint64_t i = 0; i < kMostSteps && start >= kStep; i++, start -= kStep) {
        std::byte found[64];
        if (memory.read(start + number * kPageSize, found) && !memcmp(found, page, sizeof found))
            return start;
    }
    return base::unsupported("where the kernel has mapped its memory cannot be found");
}

} // namespace

Result<KernelPages> KernelPages::find(const KernelMemory &memory) {
    const OwnPage page = TRY(make_page());
    const OwnPipe pipe = TRY(pipe_with(page.get()));
    const uint64_t number = TRY(page_number(page.get()));
    KernelPages pages;
    pages.description_size_ = TRY(memory.size_of("page"));
    pages.descriptions_ = TRY(description_in(memory, pipe)) - number * pages.description_size_;
    pages.contents_ = TRY(find_contents(memory, page.get(), number));
    return pages;
}

uint64_t KernelPages::address(uint64_t page) const {
    return contents_ + (page - descriptions_) / description_size_ * kPageSize;
}

} // namespace resource
