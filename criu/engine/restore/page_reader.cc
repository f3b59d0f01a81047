#include "criu/engine/restore/page_reader.hh"

#include "base/guarded.hh"
#include "criu/engine/restore/huge_filler.hh"
#include "criu/pages/source.hh"

#include <algorithm>
#include <atomic>
#include <climits>
#include <cstring>
#include <fmt/format.h>
#include <mutex>
#include <sys/mman.h>
#include <sys/uio.h>
#include <thread>
#include <unistd.h>

namespace restore {
namespace {

using plan::Region;

constexpr size_t kVectors = 1024;
constexpr size_t kCompareBuffer = 32u << 10; // each task of a tree touches its own

std::byte *bytes_at(uint64_t address) {
    return reinterpret_cast<std::byte *>(address);
}

/// Reads that follow each other in one file, gathered into few calls.
class FileGatherer {
public:
    explicit FileGatherer(int fd) : fd_(fd) {}

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

/// Unpacks to where it belongs, by several threads where that is worth it.
Result<void> unpack_all(const std::vector<Fill> &fills, unsigned most) {
    std::atomic<size_t> next{0};
    std::mutex mutex;
    std::optional<base::Error> error;
    const auto work = [&] {
        for (size_t i; (i = next++) < fills.size();)
            if (auto done = base::guarded([&] { return fills[i].read(fills[i].to); }); !done) {
                const std::lock_guard held(mutex);
                error = std::move(done.error());
                next = fills.size();
            }
    };
    uint64_t bytes = 0;
    for (const Fill &fill : fills)
        bytes += fill.bytes;
    std::vector<std::thread> helpers;
    for (uint64_t i = 1; i < worthwhile_threads(bytes, most); i++)
        helpers.emplace_back(work);
    work();
    for (std::thread &helper : helpers)
        helper.join();
    return error ? base::fail(std::move(*error)) : Result<void>();
}

/// Reads from the files of a chain, whose pages may alternate: each file is read in its own order.
class Gatherer {
public:
    explicit Gatherer(unsigned unpackers) : unpackers_(unpackers) {}
    Result<void> add(const Fill &fill) {
        if (fill.packed) {
            packed_.push_back(fill);
            return {};
        }
        auto file = files_.try_emplace(fill.fd, fill.fd).first;
        return file->second.add(fill.to, fill.bytes, fill.offset);
    }
    Result<void> flush() {
        for (auto &[fd, file] : files_)
            TRY(file.flush());
        return unpack_all(packed_, unpackers_);
    }

private:
    unsigned unpackers_;
    std::vector<Fill> packed_;
    std::map<int, FileGatherer> files_;
};

/// Compares pages with what the parent has left there, and writes those that differ.
Result<void> merge(const Fill &fill, std::vector<std::byte> &buffer, MemoryCounters &counters) {
    // A block that is looked at in parts is unpacked as often.
    const uint64_t most = fill.packed ? std::max(kCompareBuffer, fill.packed->block_bytes) : kCompareBuffer;
    buffer.resize(most);
    for (uint64_t done = 0; done < fill.bytes;) {
        const uint64_t chunk = std::min<uint64_t>(most, fill.bytes - done);
        TRY(fill.part(done, chunk).read(buffer.data()));
        for (uint64_t page = 0; page < chunk; page += base::kPageSize) {
            std::byte *to = fill.to + done + page;
            counters.compared++;
            if (std::memcmp(to, buffer.data() + page, base::kPageSize) == 0) {
                counters.skipped_cow++;
            } else {
                std::memcpy(to, buffer.data() + page, base::kPageSize);
                counters.add_restored(1);
            }
        }
        done += chunk;
    }
    return {};
}

/// Brings the pages of one task to their regions, each the cheapest way.
class TaskPages {
public:
    TaskPages(const pages::PageIndex *parent, unsigned unpackers, MemoryCounters &counters)
        : parent_(parent), counters_(counters), gatherer_(unpackers), huge_(unpackers) {}

    /// Pages for [at, at + fill.bytes), addresses as in the task; ascending.
    Result<void> add(const Region &region, uint64_t at, const Fill &fill) {
        if (region.inherited && parent_)
            return add_inherited(at, fill);
        counters_.add_restored(fill.bytes / base::kPageSize);
        if (region.kind != Region::Kind::Anonymous || region.small_pages)
            return gatherer_.add(fill);
        if (!stretch_.empty() && (&region != region_ || stretch_.back().to + stretch_.back().bytes != fill.to))
            TRY(end_stretch());
        region_ = &region;
        stretch_.push_back(fill);
        return {};
    }

    Result<void> finish() {
        TRY(end_stretch());
        for (const Fill &rest : TRY(huge_.run()))
            TRY(gatherer_.add(rest));
        return gatherer_.flush();
    }

private:
    /// What lies without a gap in one region can be filled by huge pages, from however many files it comes.
    Result<void> end_stretch() {
        for (const Fill &rest : huge_.take(stretch_))
            TRY(gatherer_.add(rest));
        stretch_.clear();
        return {};
    }

    // Only what the parent has can be equal to it. Looking at the rest would cost two page faults for each page.
    Result<void> add_inherited(uint64_t at, const Fill &fill) {
        const uint64_t start = at, end = at + fill.bytes;
        auto piece = [&](uint64_t from, uint64_t to) { return fill.part(from - start, to - from); };
        for (auto run = parent_->first_behind(at); at < end;) {
            const bool over = run == parent_->runs.end() || run->start >= end;
            if (const uint64_t from = over ? end : run->start; from > at) {
                const Fill own = piece(at, from);
                counters_.add_restored(own.bytes / base::kPageSize);
                TRY(gatherer_.add(own));
                at = from;
                continue;
            }
            const uint64_t to = std::min(end, (run++)->end);
            TRY(merge(piece(at, to), buffer_, counters_));
            at = to;
        }
        return {};
    }

    const pages::PageIndex *parent_;
    MemoryCounters &counters_;
    Gatherer gatherer_;
    HugeFiller huge_;
    const Region *region_ = nullptr; ///< of the stretch
    std::vector<Fill> stretch_;
    std::vector<std::byte> buffer_;
};

/// How the pages of a run from `at` on come to `to`.
Fill fill_of(const pages::PageIndex &index, const pages::PageSource &source, const pages::Run &run, uint64_t at,
             std::span<std::byte> to) {
    if (run.is_packed())
        return {to.data(), to.size(), source.file(run), at, &index.packed[run.packed]};
    const pages::Place place = source.locate(run, at);
    return {to.data(), to.size(), place.fd, place.offset, nullptr};
}

} // namespace

Result<void> read_pages(const pages::Chain &chain, const plan::TaskImage &task, const pages::PageIndex *parent,
                        const std::vector<const Region *> &regions, const ReadPagesOptions &how,
                        MemoryCounters &counters) {
    if (regions.empty() || task.pages.runs.empty())
        return {};
    const auto source = TRY(pages::PageSource::open(chain, task.pages));
    TaskPages pages(parent, how.unpackers, counters);
    auto region = regions.begin();
    for (const pages::Run &run : task.pages.runs)
        for (uint64_t at = run.start; at < run.end;) {
            while (region != regions.end() && (*region)->end <= at)
                ++region;
            if (region == regions.end() || (*region)->start >= run.end)
                break;
            at = std::max(at, (*region)->start);
            const uint64_t stop = std::min(run.end, (*region)->end);
            std::byte *to = bytes_at((*region)->at + (at - (*region)->start));
            if (!how.lazily || !run.lazy || !(*region)->can_wait()) {
                TRY(pages.add(**region, at, fill_of(task.pages, source, run, at, {to, stop - at})));
            }
            at = stop;
        }
    return pages.finish();
}

Result<void> fill_shared(const pages::Chain &chain, uint64_t id, std::byte *memory, uint64_t size) {
    return fill_shared(chain, id, TRY(pages::index_pages(chain, image::ImageKind::ShmemPagemap, id)), memory, size);
}

Result<void> fill_shared(const pages::Chain &chain, uint64_t id, const pages::PageIndex &index, std::byte *memory,
                         uint64_t size) {
    if (index.runs.empty())
        return {};
    if (index.runs.back().end > size)
        return base::bad_image(fmt::format("pagemap-shmem-{}.img: pages behind the end of the memory", id));
    const auto source = TRY(pages::PageSource::open(chain, index));
    Gatherer gatherer(0);
    for (const pages::Run &run : index.runs) {
        TRY(gatherer.add(fill_of(index, source, run, run.start, {memory + run.start, run.end - run.start})));
    }
    return gatherer.flush();
}

} // namespace restore
