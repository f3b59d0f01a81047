#include "criu/engine/restore/huge_filler.hh"

#include "base/ids.hh"
#include "kernel_abi/userfaultfd_move.hh"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <ctime>
#include <fcntl.h>
#include <mutex>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

namespace restore {
namespace {

using namespace kernel_abi;

constexpr uint64_t kChunk = 8u << 20; // of staging memory
constexpr uint64_t kWorthIt = 2 * base::kHugePageSize;
constexpr uint64_t kPerThread = 32u << 20; // less than this is not worth a thread
constexpr unsigned kMostThreads = 8;
constexpr uint64_t kColdNsPerMiB = 1'000'000; // slower than 1 GB/s: the host has to be asked for the memory

uint64_t now_ns() {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
}

uint64_t address(std::byte *p) {
    return reinterpret_cast<uint64_t>(p);
}
uint64_t huge_up(uint64_t x) {
    return (x + base::kHugePageSize - 1) & ~(base::kHugePageSize - 1);
}
uint64_t huge_down(uint64_t x) {
    return x & ~(base::kHugePageSize - 1);
}

base::UniqueFd open_uffd() {
    base::UniqueFd fd(static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK)));
    UffdioApi api{kUffdApi, kUffdFeatureMove, 0};
    if (fd && ioctl(fd.get(), kUffdioApi, &api) < 0)
        fd.reset();
    return fd;
}

/// Memory for one chunk, in huge pages where there are any.
class Staging {
public:
    Staging() {
        raw_ = mmap(nullptr, kChunk + base::kHugePageSize, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (raw_ == MAP_FAILED)
            return;
        start_ = reinterpret_cast<std::byte *>(huge_up(reinterpret_cast<uint64_t>(raw_)));
        madvise(start_, kChunk, MADV_HUGEPAGE);
    }
    ~Staging() {
        if (raw_ != MAP_FAILED)
            munmap(raw_, kChunk + base::kHugePageSize);
    }
    Staging(const Staging &) = delete;
    std::byte *get() const { return start_; }

private:
    void *raw_;
    std::byte *start_ = nullptr;
};

/// All or nothing: a destination that was moved into in part is finished by copying.
bool move(int uffd, std::byte *to, std::byte *from, uint64_t bytes) {
    UffdioMove request{address(to), address(from), bytes, 0, 0};
    while (ioctl(uffd, kUffdioMove, &request) < 0) {
        if (errno != EAGAIN && request.moved <= 0)
            return false;
        const uint64_t moved = request.moved > 0 ? static_cast<uint64_t>(request.moved) : 0;
        request = {request.destination + moved, request.source + moved, request.length - moved, 0, 0};
    }
    return true;
}

/// The part of the piece that lies in the memory; empty if none does.
Fill clip(const Fill &piece, std::byte *from, std::byte *to) {
    std::byte *start = std::max(piece.to, from), *end = std::min(piece.to + piece.bytes, to);
    if (start >= end)
        return {};
    const auto skipped = static_cast<uint64_t>(start - piece.to);
    return piece.part(skipped, static_cast<uint64_t>(end - start));
}

/// The work of all threads of one run.
class Work {
public:
    Work(int uffd, const std::vector<Fill> &pieces, const std::vector<Stretch> &stretches)
        : uffd_(uffd), pieces_(pieces) {
        for (Stretch rest : stretches)
            while (rest.bytes) {
                const uint64_t here = std::min(rest.bytes, kChunk);
                chunks_.push_back({rest.to, here, rest.first});
                rest.to += here, rest.bytes -= here;
                while (rest.bytes && pieces_[rest.first].to + pieces_[rest.first].bytes <= rest.to)
                    rest.first++;
            }
    }

    void run_one_thread() {
        Staging staging;
        for (size_t i; staging.get() && !cold_ && (i = next_++) < chunks_.size();)
            if (!fill(chunks_[i], staging))
                leave(chunks_[i]);
    }

    std::vector<Fill> left() {
        for (size_t i; (i = next_++) < chunks_.size();)
            leave(chunks_[i]);
        return std::move(left_);
    }

private:
    bool fill(const Stretch &chunk, Staging &staging) {
        const uint64_t before = now_ns();
        bool packed = false; // what takes long then is not the memory
        const bool read = for_each_piece(chunk, [&](const Fill &piece) {
            packed |= piece.packed != nullptr;
            return piece.read(staging.get() + (piece.to - chunk.to)).has_value();
        });
        if (!read || !move(uffd_, chunk.to, staging.get(), chunk.bytes))
            return false;
        if (!packed && (now_ns() - before) / (chunk.bytes >> 20) > kColdNsPerMiB)
            cold_ = true;
        return true;
    }

    void leave(const Stretch &chunk) {
        std::lock_guard lock(mutex_);
        for_each_piece(chunk, [&](const Fill &piece) {
            left_.push_back(piece);
            return true;
        });
    }

    bool for_each_piece(const Stretch &chunk, auto &&use) const {
        std::byte *end = chunk.to + chunk.bytes;
        for (size_t i = chunk.first; i < pieces_.size() && pieces_[i].to < end; i++)
            if (const Fill piece = clip(pieces_[i], chunk.to, end); piece.bytes == 0)
                break; // of another stretch
            else if (!use(piece))
                return false;
        return true;
    }

    int uffd_;
    const std::vector<Fill> &pieces_;
    std::vector<Stretch> chunks_;
    std::atomic<size_t> next_{0};
    std::atomic<bool> cold_{false};
    std::mutex mutex_;
    std::vector<Fill> left_;
};

} // namespace

base::Result<void> Fill::read(std::byte *into) const {
    if (packed) {
        // Pieces end where blocks do: a block that two of them share is unpacked twice.
        constexpr uint64_t kPiece = 2u << 20;
        for (uint64_t at = offset, end = offset + bytes; at < end;) {
            const uint64_t blocks = std::max<uint64_t>(1, kPiece / packed->block_bytes);
            const uint64_t here = (at - packed->start) / packed->block_bytes;
            const uint64_t stop = std::min(end, packed->block_start(here + blocks));
            TRY(pages::read_packed(fd, *packed, at, {into + (at - offset), stop - at}));
            at = stop;
        }
        return {};
    }
    for (uint64_t done = 0; done < bytes;) {
        const ssize_t n = pread(fd, into + done, bytes - done, static_cast<off_t>(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return base::fail_sys(n < 0 ? errno : EIO, "read pages");
        done += static_cast<uint64_t>(n);
    }
    return {};
}

uint64_t worthwhile_threads(uint64_t bytes, unsigned most) {
    return std::min<uint64_t>({bytes / kPerThread, std::thread::hardware_concurrency(), most ? most : kMostThreads});
}

std::vector<Fill> HugeFiller::take(const std::vector<Fill> &pieces) {
    if (pieces.empty())
        return {};
    std::byte *first = pieces.front().to, *last = pieces.back().to + pieces.back().bytes;
    const uint64_t start = huge_up(address(first)), end = huge_down(address(last));
    if (end <= start || end - start < kWorthIt)
        return pieces;
    if (!uffd_) {
        uffd_ = open_uffd();
        if (!uffd_)
            return pieces;
    }
    UffdioRegister range{{start, end - start}, kUffdModeMissing, 0};
    if (ioctl(uffd_.get(), kUffdioRegister, &range) < 0)
        return pieces;
    std::byte *from = first + (start - address(first)), *to = first + (end - address(first));
    taken_.push_back({from, end - start, pieces_.size()});
    std::vector<Fill> rest;
    for (const Fill &piece : pieces) {
        if (const Fill head = clip(piece, first, from); head.bytes)
            rest.push_back(head);
        if (const Fill middle = clip(piece, from, to); middle.bytes)
            pieces_.push_back(middle);
        if (const Fill tail = clip(piece, to, last); tail.bytes)
            rest.push_back(tail);
    }
    return rest;
}

base::Result<std::vector<Fill>> HugeFiller::run() {
    if (taken_.empty())
        return std::vector<Fill>{};
    uint64_t total = 0;
    for (const Stretch &stretch : taken_)
        total += stretch.bytes;
    Work work(uffd_.get(), pieces_, taken_);
    const bool packed = std::ranges::any_of(pieces_, [](const Fill &piece) { return piece.packed != nullptr; });
    const uint64_t wanted = worthwhile_threads(total, packed ? unpackers_ : 0);
    std::vector<std::thread> helpers;
    for (uint64_t i = 1; i < wanted; i++)
        helpers.emplace_back([&work] { work.run_one_thread(); });
    work.run_one_thread();
    for (std::thread &helper : helpers)
        helper.join();
    // Before anybody touches the rest: a fault in a registered range would wait for ever.
    for (const Stretch &stretch : taken_) {
        UffdioRange range{address(stretch.to), stretch.bytes};
        if (ioctl(uffd_.get(), kUffdioUnregister, &range) < 0)
            return base::fail_sys("UFFDIO_UNREGISTER");
    }
    uffd_.reset();
    taken_.clear();
    std::vector<Fill> left = work.left();
    pieces_.clear();
    return left;
}

} // namespace restore
