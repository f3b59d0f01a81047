#include "criu/engine/pre_dump/copier.hh"

#include "criu/kernel/interruption.hh"
#include "criu/kernel/io.hh"

#include <algorithm>
#include <sys/uio.h>
#include <unistd.h>

namespace pre_dump {
namespace {

constexpr size_t kBuffer = 1u << 20;

void append(std::vector<dump::PageRun> &runs, const dump::PageRun &like, uint64_t from, uint64_t to) {
    if (!runs.empty() && !runs.back().in_parent && runs.back().lazy == like.lazy && runs.back().extent.end() == from)
        runs.back().extent.pages += (to - from) / base::kPageSize;
    else
        runs.push_back({pages::extent_of(from, to), like.readable, like.lazy, false});
}

} // namespace

Result<std::vector<dump::PageRun>> Copier::copy(const std::vector<dump::PageRun> &runs) {
    buffer_.resize(kBuffer);
    std::vector<dump::PageRun> copied;
    for (const dump::PageRun &run : runs)
        if (run.in_parent)
            copied.push_back(run);
        else if (run.readable || unreadable_too_)
            TRY(copy_run(run, copied));
    TRY(flush());
    return copied;
}

Result<void> Copier::copy_run(const dump::PageRun &run, std::vector<dump::PageRun> &copied) {
    for (uint64_t at = run.extent.start; at < run.extent.end() && !ended_;) {
        if (used_ == kBuffer)
            TRY(flush());
        const auto room = std::span(buffer_).subspan(used_, std::min(kBuffer - used_, run.extent.end() - at));
        const size_t got = read_some(at, room, run.readable) / base::kPageSize * base::kPageSize;
        if (got)
            append(copied, run, at, at + got);
        used_ += got;
        at += got ? got : base::kPageSize; // that page is not there any more
    }
    return {};
}

size_t Copier::read_some(uint64_t address, std::span<std::byte> into, bool readable) {
    if (!readable) {
        if (!memory_)
            if (auto opened = compel::RemoteMemory::open(pid_))
                memory_ = std::move(*opened);
        return memory_ ? memory_->read_some(address, into) : 0;
    }
    const iovec local{into.data(), into.size()}, remote{reinterpret_cast<void *>(address), into.size()};
    const ssize_t n = process_vm_readv(pid_.value, &local, 1, &remote, 1, 0);
    if (n < 0 && errno == ESRCH)
        ended_ = true;
    return n < 0 ? 0 : static_cast<size_t>(n);
}

Result<void> Copier::flush() {
    TRY(kernel::check_interrupted());
    TRY(kernel::write_at(fd_, std::span(buffer_).first(used_), offset_));
    engine::count_bytes(progress_, used_);
    offset_ += used_;
    used_ = 0;
    return {};
}

} // namespace pre_dump
