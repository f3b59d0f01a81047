#include "criu/engine/restore/page_reader.hh"

#include "criu/engine/restore/huge_filler.hh"

#include <algorithm>
#include <climits>
#include <cstring>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

namespace restore {
namespace {

using plan::Region;

constexpr size_t kVectors = 1024;
constexpr size_t kCompareBuffer = 32u << 10; // each task of a tree touches its own

std::byte *bytes_at(uint64_t address) {
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
        populate();
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
    // One call for many page faults; the read would take them one by one. Kernels before 5.14 refuse, and so they do.
    void populate() const {
        constexpr size_t kWorthIt = 8 * base::kPageSize;
        for (const iovec &vector : vectors_)
            if (vector.iov_len >= kWorthIt)
                madvise(vector.iov_base, vector.iov_len, MADV_POPULATE_WRITE);
    }

    int fd_;
    std::vector<iovec> vectors_;
    uint64_t start_ = 0, bytes_ = 0;
};

/// Compares pages with what the parent has left there, and writes those that differ.
Result<void> merge(int fd, const Fill &fill, std::vector<std::byte> &buffer, MemoryCounters &counters) {
    const auto [at, bytes, offset] = fill;
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

/// Brings the pages of one task to their regions, each the cheapest way.
class TaskPages {
public:
    TaskPages(int fd, const image::PagemapImage *parent, MemoryCounters &counters)
        : fd_(fd), parent_(parent), counters_(counters), gatherer_(fd), huge_(fd) {}

    /// Pages for [at, at + fill.bytes), addresses as in the task.
    Result<void> add(const Region &region, uint64_t at, const Fill &fill) {
        if (region.inherited && parent_)
            return add_inherited(at, fill);
        counters_.restored += fill.bytes / base::kPageSize;
        for (const Fill &rest :
             region.kind == Region::Kind::Anonymous && !region.small_pages ? huge_.take(fill) : std::vector{fill})
            TRY(gatherer_.add(rest.to, rest.bytes, rest.offset));
        return {};
    }

    Result<void> finish() {
        for (const Fill &rest : TRY(huge_.run()))
            TRY(gatherer_.add(rest.to, rest.bytes, rest.offset));
        return gatherer_.flush();
    }

private:
    // Only what the parent has can be equal to it. Looking at the rest would cost two page faults for each page.
    Result<void> add_inherited(uint64_t at, const Fill &fill) {
        const uint64_t start = at, end = at + fill.bytes;
        auto piece = [&](uint64_t from, uint64_t to) {
            return Fill{fill.to + (from - start), to - from, fill.offset + (from - start)};
        };
        auto run = std::partition_point(parent_->entries.begin(), parent_->entries.end(),
                                        [&](const img::pagemap_entry &entry) { return image::end_of(entry) <= at; });
        while (at < end) {
            const bool over = run == parent_->entries.end() || run->vaddr() >= end;
            if (const uint64_t from = over ? end : run->vaddr(); from > at) {
                const Fill own = piece(at, from);
                counters_.restored += own.bytes / base::kPageSize;
                TRY(gatherer_.add(own.to, own.bytes, own.offset));
                at = from;
                continue;
            }
            const uint64_t to = std::min(end, image::end_of(*run++));
            TRY(merge(fd_, piece(at, to), buffer_, counters_));
            at = to;
        }
        return {};
    }

    int fd_;
    const image::PagemapImage *parent_;
    MemoryCounters &counters_;
    Gatherer gatherer_;
    HugeFiller huge_;
    std::vector<std::byte> buffer_;
};

} // namespace

Result<void> read_pages(const image::ImageDir &images, const plan::TaskImage &task, const image::PagemapImage *parent,
                        const std::vector<const Region *> &regions, MemoryCounters &counters) {
    if (regions.empty() || task.pagemap.entries.empty())
        return {};
    auto file = TRY(images.open_raw(image::ImageKind::Pages, task.pagemap.head.pages_id()));
    if (!file)
        return base::bad_image(fmt::format("pages-{}.img is missing", task.pagemap.head.pages_id()));
    TaskPages pages(file->get(), parent, counters);
    uint64_t offset = 0;
    auto region = regions.begin();
    for (const img::pagemap_entry &run : task.pagemap.entries) {
        TRY(refuse_incremental(run));
        const uint64_t end = image::end_of(run);
        for (uint64_t at = run.vaddr(); at < end;) {
            while (region != regions.end() && (*region)->end <= at)
                ++region;
            if (region == regions.end() || (*region)->start >= end)
                break;
            at = std::max(at, (*region)->start);
            const uint64_t stop = std::min(end, (*region)->end);
            std::byte *to = bytes_at((*region)->at + (at - (*region)->start));
            TRY(pages.add(**region, at, {to, stop - at, offset + (at - run.vaddr())}));
            at = stop;
        }
        offset += end - run.vaddr();
    }
    return pages.finish();
}

uint64_t told_size(const image::PagemapImage &pagemap) {
    uint64_t size = base::page_up(pagemap.head.object_size());
    for (const img::pagemap_entry &run : pagemap.entries)
        size = std::max(size, image::end_of(run));
    return size;
}

Result<void> fill_shared(const image::ImageDir &images, uint64_t id, std::byte *memory, uint64_t size) {
    const auto pagemap = TRY(images.read_pagemap(image::ImageKind::ShmemPagemap, id));
    return fill_shared(images, id, pagemap, memory, size);
}

Result<void> fill_shared(const image::ImageDir &images, uint64_t id, const image::PagemapImage &pagemap,
                         std::byte *memory, uint64_t size) {
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
