#include "criu/pages/packing.hh"

#include "base/clock.hh"
#include "base/guarded.hh"
#include "base/ids.hh"
#include "criu/kernel/io.hh"
#include "criu/pages/stream_sink.hh"

#include <algorithm>
#include <unistd.h>
#include <utility>

namespace pages {
namespace {

constexpr unsigned kMostThreads = 16;

/// Compresses the contents of a run to the end of `to`, which has room. Nothing where none of it got smaller.
std::optional<Piece> pack_run(img::pagemap_entry &run, std::span<const std::byte> bytes, const Compression &how,
                              Packer &packer, std::span<std::byte> to) {
    bool first_as_is = false, smaller = false;
    size_t used = 0;
    for (size_t at = 0; at < bytes.size(); at += how.block_bytes) {
        const auto block = bytes.subspan(at, std::min(how.block_bytes, bytes.size() - at));
        const size_t size = packer.pack(block, to.subspan(used));
        first_as_is |= at == 0 && size == block.size();
        smaller |= size < block.size();
        run.mutable_blocks()->add_block_sizes(static_cast<uint32_t>(size));
        used += size;
    }
    if (!smaller) {
        run.clear_blocks();
        return std::nullopt;
    }
    run.mutable_blocks()->set_total_payload_size(used);
    run.mutable_blocks()->set_pages_per_block(static_cast<uint32_t>(how.block_bytes / base::kPageSize));
    if (how.codec != Codec::Lz4)
        run.mutable_blocks()->set_codec(static_cast<uint32_t>(how.codec));
    return Piece{to.first(used), first_as_is};
}

} // namespace

bool Trial::compress_next() {
    constexpr uint64_t kTrialUs = 100'000;
    if (when_ != Compression::When::IfFaster)
        return when_ == Compression::When::Always;
    if (plain_.us + packed_.us > kTrialUs && plain_.us && packed_.us)
        return packed_.per_byte() < plain_.per_byte();
    return std::exchange(odd_, !odd_);
}

void Trial::took(bool compressed, uint64_t bytes, uint64_t us) {
    Cost &cost = compressed ? packed_ : plain_;
    cost.bytes += bytes, cost.us += us;
}

PackTeam::PackTeam(const Compression &how) : how_(how), trial_(how.when) {
    const unsigned threads = std::clamp(std::thread::hardware_concurrency(), 1u, kMostThreads);
    for (unsigned i = 0; i < threads; i++)
        threads_.emplace_back([this] { work(); });
}

PackTeam::~PackTeam() {
    {
        const std::lock_guard held(mutex_);
        over_ = true;
    }
    changed_.notify_all();
    for (std::thread &thread : threads_)
        thread.join();
}

Result<void> PackTeam::submit(std::shared_ptr<PackFile> file, PackJob &job) {
    std::unique_lock held(mutex_);
    changed_.wait(held, [&] { return error_ || queue_.size() < threads_.size(); });
    if (error_)
        return base::fail(base::Error(*error_));
    file->unfinished++;
    const size_t number = file->begun++;
    queue_.push_back({std::move(file), std::move(job), number});
    job = {};
    if (!spare_.empty()) {
        job = std::move(spare_.back());
        spare_.pop_back();
    }
    held.unlock();
    changed_.notify_all();
    return {};
}

Result<void> PackTeam::await(const PackFile &file) {
    std::unique_lock held(mutex_);
    changed_.wait(held, [&] { return error_ || file.unfinished == 0; });
    return error_ ? base::fail(base::Error(*error_)) : Result<void>();
}

void PackTeam::work() {
    Packer packer(how_);
    std::vector<std::byte> packed;
    std::unique_lock held(mutex_);
    for (;;) {
        changed_.wait(held, [&] { return over_ || !queue_.empty(); });
        if (over_)
            return;
        Order order = std::move(queue_.front());
        queue_.pop_front();
        const bool compress = !error_ && trial_.compress_next();
        held.unlock();
        changed_.notify_all();
        auto done = base::guarded([&] { return handle(order, compress, packer, packed); });
        held.lock();
        order.file->unfinished--;
        if (!done && !error_)
            error_ = std::move(done.error());
        order.job.runs.clear(), order.job.huge.clear(), order.job.bytes.clear();
        spare_.push_back(std::move(order.job));
        changed_.notify_all();
    }
}

/// False where an earlier job has failed.
Result<bool> PackTeam::place(Order &order, std::vector<Piece> &pieces) {
    std::unique_lock held(mutex_);
    PackFile &file = *order.file;
    changed_.wait(held, [&] { return error_ || over_ || file.placed == order.number; });
    if (error_ || over_)
        return false;
    for (Piece &piece : pieces) {
        if (piece.aligned)
            file.end = base::page_up(file.end);
        piece.offset = file.end;
        file.end += piece.bytes.size();
    }
    std::ranges::move(order.job.runs, std::back_inserter(file.runs));
    return true;
}

void PackTeam::step_on(PackFile &file) {
    {
        const std::lock_guard held(mutex_);
        file.placed++;
    }
    changed_.notify_all();
}

Result<void> PackTeam::handle(Order &order, bool compress, Packer &packer, std::vector<std::byte> &packed) {
    const uint64_t began = base::now_us(CLOCK_THREAD_CPUTIME_ID);
    const std::span<const std::byte> bytes(order.job.bytes);
    packed.resize(std::max(packed.size(), bytes.size()));
    std::vector<Piece> pieces;
    size_t used = 0, at = 0;
    for (size_t i = 0; i < order.job.runs.size(); i++) {
        img::pagemap_entry &run = order.job.runs[i];
        const auto contents = bytes.subspan(at, image::payload_of(run));
        at += contents.size();
        std::optional<Piece> piece;
        if (compress && !order.job.huge[i] && !contents.empty())
            piece = pack_run(run, contents, how_, packer, std::span(packed).subspan(used, contents.size()));
        if (!piece)
            piece = Piece{contents, !contents.empty()};
        else
            used += piece->bytes.size();
        if (piece->aligned)
            run.set_flags(run.flags() | image::kPeAligned);
        piece->stays = stays_behind(run, order.job.huge[i] ? PageKind::Huge : PageKind::Small);
        pieces.push_back(*piece);
    }
    const uint64_t compressed = base::now_us(CLOCK_THREAD_CPUTIME_ID) - began;
    PackFile &file = *order.file;
    if (!TRY(place(order, pieces)))
        return {};
    const uint64_t writing = base::now_us(CLOCK_MONOTONIC);
    if (!file.stream)
        step_on(file);
    for (const Piece &piece : pieces) {
        if (file.stream)
            TRY(file.stream->write(file.name, piece.offset, piece.bytes));
        if (!file.stream || piece.stays)
            TRY(kernel::write_at(file.fd.get(), piece.bytes, piece.offset));
    }
    if (file.stream)
        step_on(file);
    const std::lock_guard held(mutex_);
    trial_.took(compress, bytes.size(), compressed + base::now_us(CLOCK_MONOTONIC) - writing);
    return {};
}

} // namespace pages
