#include "criu/engine/dump/copied_memory.hh"

#include "criu/kernel/interruption.hh"
#include "criu/kernel/io.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/uio.h>
#include <unistd.h>

namespace dump {
namespace {

constexpr size_t kCopyBuffer = 1u << 20;

/// Not every file system can: NFS. There it has a name for an instant.
Result<base::UniqueFd> file_that_lost_its_name(int folder) {
    const std::string name = fmt::format(".criu-copied-{}", getpid());
    base::UniqueFd file(openat(folder, name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!file || unlinkat(folder, name.c_str(), 0) < 0)
        return base::fail_sys("make a file for memory");
    return file;
}

} // namespace

Result<base::UniqueFd> unnamed_file(int folder) {
    base::UniqueFd file(openat(folder, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    return file ? Result<base::UniqueFd>(std::move(file)) : file_that_lost_its_name(folder);
}

Result<CopiedMemory> CopiedMemory::open(int folder) {
    return CopiedMemory(TRY(unnamed_file(folder)));
}

void CopiedMemory::forget(const std::vector<pages::Extent> &known, const std::vector<pages::Extent> &written) {
    valid_ = pages::subtract(pages::intersect(valid_, known), written);
}

CopiedMemory::Stretch CopiedMemory::place_for(uint64_t address, uint64_t end) {
    auto next = slots_.upper_bound(address);
    if (next != slots_.begin())
        if (const auto &[start, slot] = *std::prev(next); address < start + slot.bytes)
            return {slot.offset + (address - start), std::min(end, start + slot.bytes) - address};
    const uint64_t bytes = (next == slots_.end() ? end : std::min(end, next->first)) - address;
    const uint64_t offset = size_;
    slots_.emplace_hint(next, address, Slot{bytes, offset});
    size_ += bytes;
    return {offset, bytes};
}

/// As much as is there, from `address` on.
Result<size_t> CopiedMemory::copy_piece(base::Pid pid, uint64_t address, Stretch place) {
    const iovec local{buffer_.data(), std::min<uint64_t>(place.bytes, kCopyBuffer)};
    const iovec remote{reinterpret_cast<void *>(address), local.iov_len};
    const ssize_t n = process_vm_readv(pid.value, &local, 1, &remote, 1, 0);
    ended_ |= n < 0 && errno == ESRCH;
    const size_t got = base::page_down(static_cast<size_t>(std::max<ssize_t>(n, 0)));
    TRY(kernel::write_at(file_.get(), std::span(buffer_).first(got), place.offset));
    return got;
}

// What is written while it is copied may be torn. It does not matter: the kernel notes the write, which came after the
// notes were taken.
Result<uint64_t> CopiedMemory::copy(base::Pid pid, const std::vector<PageRun> &runs, engine::Progress *progress) {
    buffer_.resize(kCopyBuffer);
    std::vector<pages::Extent> wanted, copied;
    for (const PageRun &run : runs)
        if (run.readable)
            pages::append(wanted, run.extent);
    const auto missing = pages::subtract(wanted, valid_);
    engine::expect_bytes(progress, pages::pages_in(missing) * base::kPageSize);
    for (const pages::Extent &extent : missing)
        for (uint64_t at = extent.start; at < extent.end() && !ended_;) {
            TRY(kernel::check_interrupted());
            const Stretch place = place_for(at, extent.end());
            const size_t got = TRY(copy_piece(pid, at, place));
            engine::count_bytes(progress, got);
            if (got)
                pages::append(copied, pages::extent_of(at, at + got));
            at += got ? got : base::kPageSize; // that page is not there any more
        }
    valid_ = pages::unite(valid_, copied);
    return pages::pages_in(copied);
}

Result<void> move_file_pages(int file, uint64_t from, uint64_t bytes, pages::MemoryOutput &output, uint64_t offset,
                             std::vector<std::byte> &buffer) {
    if (output.has_file()) {
        const int into = TRY(output.file());
        while (bytes) {
            TRY(kernel::check_interrupted());
            auto in = static_cast<off_t>(from), out = static_cast<off_t>(offset);
            constexpr uint64_t kAtOnce = 64u << 20;
            const ssize_t n = copy_file_range(file, &in, into, &out, std::min(bytes, kAtOnce), 0);
            if (n <= 0)
                break; // the other way tells the real error, if there is one
            from += static_cast<uint64_t>(n), offset += static_cast<uint64_t>(n), bytes -= static_cast<uint64_t>(n);
        }
    }
    buffer.resize(kCopyBuffer);
    while (bytes) {
        TRY(kernel::check_interrupted());
        const auto piece = std::span(buffer).first(std::min<uint64_t>(kCopyBuffer, bytes));
        const ssize_t n = pread(file, piece.data(), piece.size(), static_cast<off_t>(from));
        if (n <= 0)
            return base::fail_sys(n < 0 ? errno : EIO, "read memory that was copied");
        TRY(output.write(piece.first(static_cast<size_t>(n)), offset));
        from += static_cast<uint64_t>(n), offset += static_cast<uint64_t>(n), bytes -= static_cast<uint64_t>(n);
    }
    return {};
}

Result<void> CopiedMemory::move_to(pages::MemoryOutput &output, uint64_t offset, const pages::Extent &extent) {
    for (uint64_t at = extent.start; at < extent.end();) {
        const Stretch place = place_for(at, extent.end());
        TRY(move_file_pages(file_.get(), place.offset, place.bytes, output, offset, buffer_));
        fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(place.offset),
                  static_cast<off_t>(place.bytes)); // where the file system cannot, it takes room until the end
        at += place.bytes, offset += place.bytes;
    }
    return {};
}

} // namespace dump
