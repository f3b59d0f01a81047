#include "criu/engine/dump/page_writer.hh"

#include "criu/engine/dump/increments.hh"
#include "criu/engine/dump/shared_parent.hh"
#include "criu/image/pagemap.hh"
#include "criu/kernel/interruption.hh"
#include "criu/kernel/io.hh"

#include <algorithm>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

namespace dump {
namespace {

constexpr size_t kVectors = 1024;                 // UIO_MAXIOV
constexpr size_t kVectorsPerBatch = 4 * kVectors; // 64 KiB of the agent's memory
// What one round trip may write: enough to hide its cost, little enough that a slow disk is not taken for a dead task.
constexpr uint64_t kBytesPerBatch = 64u << 20;
constexpr size_t kBuffer = 1u << 20;

} // namespace

/// The way through our own memory.
Result<void> TaskPageWriter::copy_from_outside(Piece piece) {
    buffer_.resize(kBuffer);
    while (piece.bytes) {
        auto chunk = std::span(buffer_).first(std::min<uint64_t>(kBuffer, piece.bytes));
        TRY(memory_->read(piece.address, chunk));
        TRY(kernel::write_at(fd_, chunk, piece.file_offset));
        piece.address += chunk.size(), piece.file_offset += chunk.size(), piece.bytes -= chunk.size();
    }
    return {};
}

Result<void> TaskPageWriter::add(Piece piece) {
    while (piece.bytes) {
        if (under_way_)
            TRY(finish());
        Piece part = piece;
        part.bytes = std::min(piece.bytes, kBytesPerBatch - bytes_);
        pieces_.push_back(part);
        bytes_ += part.bytes;
        piece.address += part.bytes, piece.file_offset += part.bytes, piece.bytes -= part.bytes;
        if (bytes_ == kBytesPerBatch || pieces_.size() == kVectorsPerBatch)
            TRY(submit());
    }
    return {};
}

Result<void> TaskPageWriter::submit() {
    if (pieces_.empty() || under_way_)
        return {};
    compel::Batch batch = agent_->batch();
    calls_.clear();
    for (size_t first = 0; first < pieces_.size();) {
        // Neighbours in memory need not be neighbours in the file, but here they always are.
        const size_t count = std::min(kVectors, pieces_.size() - first);
        std::vector<iovec> vectors;
        for (size_t i = first; i < first + count; i++)
            vectors.push_back({reinterpret_cast<void *>(pieces_[i].address), pieces_[i].bytes});
        const uint64_t at = batch.in(std::as_bytes(std::span(vectors)));
        const size_t index =
            batch.call_with_word(SYS_pwritev, {0, at, count, pieces_[first].file_offset, 0}, 0, agent_->passed_fd());
        calls_.push_back({index, first, count});
        first += count;
    }
    TRY(kernel::check_interrupted());
    TRY(agent_->submit(batch, fd_));
    under_way_ = std::move(batch);
    return {};
}

Result<void> TaskPageWriter::finish() {
    if (!under_way_)
        return {};
    compel::Batch batch = std::move(*under_way_);
    under_way_.reset();
    TRY(agent_->collect(batch));
    for (const Call &call : calls_)
        TRY(complete(call, std::max<int64_t>(0, batch.result(call.index))));
    engine::count_bytes(progress_, bytes_);
    pieces_.clear();
    bytes_ = 0;
    return {};
}

/// What the call left out is copied from outside, which also tells the real error if there is one.
Result<void> TaskPageWriter::complete(const Call &call, int64_t written) {
    auto done = static_cast<uint64_t>(written);
    for (size_t i = call.first; i < call.first + call.count; i++) {
        Piece rest = pieces_[i];
        const uint64_t here = std::min(done, rest.bytes);
        done -= here;
        rest.address += here, rest.file_offset += here, rest.bytes -= here;
        if (rest.bytes)
            TRY(copy_from_outside(rest));
    }
    return {};
}

Result<void> TaskPageWriter::begin(const std::vector<PageRun> &runs) {
    uint64_t offset = 0;
    for (const PageRun &run : runs) {
        if (!run.is_stored())
            continue;
        const Piece piece{run.extent.start, run.extent.pages * base::kPageSize, offset};
        offset += piece.bytes;
        if (agent_ && run.readable) {
            TRY(add(piece));
            continue;
        }
        TRY(submit()); // a call writes to one stretch of the file
        TRY(copy_from_outside(piece));
        engine::count_bytes(progress_, piece.bytes);
    }
    return submit();
}

namespace {

/// One stretch of a memory file, appended to its pages file.
class FilePages {
public:
    FilePages(MemoryDumpContext &context, image::ImageKind kind, uint64_t id, pages::MemoryOutput &output, int file,
              pages::PageKind pages)
        : statistics_(context.statistics), progress_(context.progress), output_(output), file_(file), kind_(pages),
          buffer_(kBuffer) {
        if (context.increments && context.increments->compares_shared() && output.has_parent() != false)
            parent_ = SharedParent::find(context.increments->parent(), kind, id);
    }

    /// [from, end), page-aligned. `sparse`: the file system cannot tell where nothing is, so zeros count as nothing.
    Result<void> add(uint64_t from, uint64_t end, bool sparse) {
        const bool whole = !sparse && !parent_;
        if (whole)
            TRY(add_run(from, end));
        for (; from < end; from += kBuffer) {
            auto chunk = std::span(buffer_).first(std::min<uint64_t>(kBuffer, end - from));
            TRY(kernel::check_interrupted());
            ssize_t n = pread(file_, chunk.data(), chunk.size(), static_cast<off_t>(from));
            if (n < 0)
                return base::fail_sys("read shared memory");
            std::fill(chunk.begin() + n, chunk.end(), std::byte{}); // the last page may end behind the file
            if (sparse && std::ranges::all_of(chunk, [](std::byte b) { return b == std::byte{}; }))
                continue;
            if (parent_) {
                TRY(add_changed(from, chunk));
                continue;
            }
            if (!whole)
                TRY(add_run(from, from + chunk.size()));
            TRY(write(chunk));
        }
        return {};
    }

    /// A page server is not told of sizes: the last page of the object is sent, empty if it holds nothing.
    Result<void> tell_size(uint64_t size) {
        if (output_.has_file() || end_ >= size)
            return {};
        constexpr std::byte kEmpty[base::kPageSize]{};
        TRY(add_run(size - base::kPageSize, size));
        return output_.put(kEmpty);
    }

private:
    /// What is not in the images before.
    Result<void> add_changed(uint64_t from, std::span<const std::byte> chunk) {
        const std::vector<bool> same = TRY(parent_->has(from, chunk));
        for (size_t first = 0, end = 0; first < same.size(); first = end) {
            for (end = first + 1; end < same.size() && same[end] == same[first]; end++) {
            }
            TRY(add_run(from + first * base::kPageSize, from + end * base::kPageSize, same[first]));
            if (!same[first])
                TRY(write(chunk.subspan(first * base::kPageSize, (end - first) * base::kPageSize)));
        }
        return {};
    }

    Result<void> write(std::span<const std::byte> bytes) {
        TRY(output_.write(bytes, offset_));
        engine::count_bytes(progress_, bytes.size());
        offset_ += bytes.size();
        return {};
    }

    Result<void> add_run(uint64_t from, uint64_t end, bool in_parent = false) {
        img::pagemap_entry entry = image::present_run(from, (end - from) / base::kPageSize);
        if (in_parent)
            entry.set_flags(image::kPeParent);
        else
            engine::expect_bytes(progress_, end - from);
        (in_parent ? statistics_.shmem_pages_in_parent : statistics_.shmem_pages_written) += entry.nr_pages();
        end_ = end;
        return output_.add(entry, kind_);
    }

    MemoryStatistics &statistics_;
    engine::Progress *progress_;
    pages::MemoryOutput &output_;
    int file_;
    pages::PageKind kind_;
    uint64_t offset_ = 0, end_ = 0;
    std::vector<std::byte> buffer_;
    std::optional<SharedParent> parent_;
};

} // namespace

Result<void> write_file_pages(MemoryDumpContext &context, image::ImageKind kind, uint64_t id, int file,
                              uint64_t mapped_end) {
    struct stat st {};
    struct statfs fs {};
    if (fstat(file, &st) < 0 || fstatfs(file, &fs) < 0)
        return base::fail_sys("look at shared memory");
    const bool huge = static_cast<uint32_t>(fs.f_type) == HUGETLBFS_MAGIC;
    const uint64_t size = base::page_up(static_cast<uint64_t>(st.st_size));
    context.statistics.shmem_pages_scanned += size / base::kPageSize;
    const auto output = TRY(context.sink.open(kind, id, size > mapped_end ? size : 0));
    FilePages pages(context, kind, id, *output, file, huge ? pages::PageKind::Huge : pages::PageKind::Small);
    for (uint64_t at = 0; at < size;) {
        off_t start = lseek(file, static_cast<off_t>(at), SEEK_DATA);
        if (start < 0)
            break;
        off_t hole = lseek(file, start, SEEK_HOLE);
        const uint64_t end = base::page_up(static_cast<uint64_t>(hole < 0 ? st.st_size : hole));
        TRY(pages.add(base::page_down(static_cast<uint64_t>(start)), end, huge));
        at = end;
    }
    if (size > mapped_end)
        TRY(pages.tell_size(size));
    return output->close();
}

} // namespace dump
