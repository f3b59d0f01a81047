#include "criu/restore/page_reader.hh"

#include "criu/restore/huge_filler.hh"

#include <algorithm>
#include <climits>
#include <cstring>
#include <fmt/format.h>
#include <sys/uio.h>
#include <unistd.h>

namespace restore {
namespace {

using plan::Region;

constexpr size_t kVectors = 1024;
constexpr size_t kCompareBuffer = 256u << 10;

std::byte *pointer(uint64_t address) {
    return reinterpret_cast<std::byte *>(address);
}

/// Reads that follow each other in the file, gathered into few calls.
class Gatherer {
public:
    explicit Gatherer(int fd) : fd_(fd) {}

    Result<void> add(std::byte *to, uint64_t bytes, uint64_t offset) {
        if (!vectors_.empty() && (offset != start_ + bytes_ || vectors_.size() == kVectors))
            TRY(flush());
        if (vectors_.empty())
            start_ = offset;
        auto *end =
            vectors_.empty() ? nullptr : static_cast<std::byte *>(vectors_.back().iov_base) + vectors_.back().iov_len;
        if (end == to)
            vectors_.back().iov_len += bytes;
        else
            vectors_.push_back({to, bytes});
        bytes_ += bytes;
        return {};
    }

    Result<void> flush() {
        iovec *next = vectors_.data();
        size_t left = vectors_.size();
        while (left) {
            ssize_t n = preadv(fd_, next, static_cast<int>(left), static_cast<off_t>(start_));
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0)
                return base::fail_sys(n < 0 ? errno : EIO, "read pages");
            start_ += static_cast<uint64_t>(n);
            for (auto done = static_cast<size_t>(n); done;) {
                size_t here = std::min(done, next->iov_len);
                next->iov_base = static_cast<std::byte *>(next->iov_base) + here;
                next->iov_len -= here;
                done -= here;
                if (!next->iov_len)
                    next++, left--;
            }
        }
        vectors_.clear();
        bytes_ = 0;
        return {};
    }

private:
    int fd_;
    std::vector<iovec> vectors_;
    uint64_t start_ = 0, bytes_ = 0;
};

/// Compares pages with what the parent has left there, and writes those that differ.
Result<void> merge(int fd, std::byte *at, uint64_t bytes, uint64_t offset, std::vector<std::byte> &buffer,
                   MemoryCounters &counters) {
    buffer.resize(kCompareBuffer);
    for (uint64_t done = 0; done < bytes;) {
        const uint64_t chunk = std::min<uint64_t>(kCompareBuffer, bytes - done);
        if (pread(fd, buffer.data(), chunk, static_cast<off_t>(offset + done)) != static_cast<ssize_t>(chunk))
            return base::fail_sys("read pages");
        for (uint64_t page = 0; page < chunk; page += base::kPageSize) {
            std::byte *to = at + done + page;
            counters.compared++;
            if (std::memcmp(to, buffer.data() + page, base::kPageSize) == 0) {
                counters.skipped_cow++;
            } else {
                std::memcpy(to, buffer.data() + page, base::kPageSize);
                counters.restored++;
            }
        }
        done += chunk;
    }
    return {};
}

Result<void> refuse_incremental(const img::pagemap_entry &run) {
    if (!(image::flags_of(run) & image::kPePresent))
        return base::unsupported("the images are incremental (--prev-images-dir), which is not supported yet");
    return {};
}

} // namespace

Result<void> read_pages(const image::ImageDir &images, const plan::TaskImage &task,
                        const std::vector<const Region *> &regions, MemoryCounters &counters) {
    if (regions.empty() || task.pagemap.entries.empty())
        return {};
    auto file = TRY(images.open_raw(image::ImageKind::Pages, task.pagemap.head.pages_id()));
    if (!file)
        return base::bad_image(fmt::format("pages-{}.img is missing", task.pagemap.head.pages_id()));
    Gatherer gatherer(file->get());
    HugeFiller huge(file->get());
    std::vector<std::byte> buffer;
    uint64_t offset = 0;
    auto region = regions.begin();
    for (const img::pagemap_entry &run : task.pagemap.entries) {
        TRY(refuse_incremental(run));
        const uint64_t end = run.vaddr() + image::pages_of(run) * base::kPageSize;
        for (uint64_t at = run.vaddr(); at < end;) {
            while (region != regions.end() && (*region)->end <= at)
                ++region;
            if (region == regions.end() || (*region)->start >= end)
                break;
            at = std::max(at, (*region)->start);
            const uint64_t stop = std::min(end, (*region)->end);
            std::byte *to = pointer((*region)->at + (at - (*region)->start));
            if ((*region)->inherited) {
                TRY(merge(file->get(), to, stop - at, offset + (at - run.vaddr()), buffer, counters));
            } else {
                const Fill fill{to, stop - at, offset + (at - run.vaddr())};
                for (const Fill &rest :
                     (*region)->kind == Region::Kind::Anonymous ? huge.take(fill) : std::vector{fill})
                    TRY(gatherer.add(rest.to, rest.bytes, rest.offset));
                counters.restored += (stop - at) / base::kPageSize;
            }
            at = stop;
        }
        offset += end - run.vaddr();
    }
    for (const Fill &rest : TRY(huge.run()))
        TRY(gatherer.add(rest.to, rest.bytes, rest.offset));
    return gatherer.flush();
}

Result<void> fill_shared(const image::ImageDir &images, uint64_t id, std::byte *memory, uint64_t size) {
    auto pagemap = TRY(images.read_pagemap(image::ImageKind::ShmemPagemap, id));
    if (pagemap.entries.empty())
        return {};
    TRY(image::check_pages_file(images, image::ImageKind::ShmemPagemap, id, pagemap));
    auto file = TRY(images.open_raw(image::ImageKind::Pages, pagemap.head.pages_id()));
    if (!file)
        return base::bad_image(fmt::format("pages-{}.img is missing", pagemap.head.pages_id()));
    Gatherer gatherer(file->get());
    uint64_t offset = 0;
    for (const img::pagemap_entry &run : pagemap.entries) {
        TRY(refuse_incremental(run));
        const uint64_t bytes = image::pages_of(run) * base::kPageSize;
        if (run.vaddr() > size || bytes > size - run.vaddr())
            return base::bad_image(fmt::format("pagemap-shmem-{}.img: pages behind the end of the memory", id));
        TRY(gatherer.add(memory + run.vaddr(), bytes, offset));
        offset += bytes;
    }
    return gatherer.flush();
}

} // namespace restore
