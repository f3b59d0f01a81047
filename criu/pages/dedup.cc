#include "criu/pages/dedup.hh"

#include "base/ids.hh"
#include "base/unique_fd.hh"
#include "criu/image/pagemap.hh"
#include "criu/pages/extents.hh"
#include "criu/pages/index.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace pages {
namespace {

/// Makes holes in one pages file; neighbours become one.
class Puncher {
public:
    static Result<Puncher> open(const Chain &chain, size_t level, uint32_t pages_id) {
        const std::string name = image::image_file_name(image::ImageKind::Pages, pages_id);
        base::UniqueFd fd(openat(chain.level(level).fd(), name.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
        struct stat st {};
        if (!fd || fstat(fd.get(), &st) < 0)
            return base::fail_sys(name_in_chain(level, name));
        if (!S_ISREG(st.st_mode))
            return base::bad_image(name_in_chain(level, name) + ": not a regular file");
        return Puncher(std::move(fd), name_in_chain(level, name));
    }

    Result<void> add(uint64_t offset, uint64_t bytes) {
        if (offset != end_)
            TRY(flush());
        if (start_ == end_)
            start_ = end_ = offset;
        end_ += bytes;
        return {};
    }

    Result<uint64_t> finish() {
        TRY(flush());
        return dropped_;
    }

private:
    Puncher(base::UniqueFd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}

    Result<void> flush() {
        if (end_ > start_ && fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                       static_cast<off_t>(start_), static_cast<off_t>(end_ - start_)) < 0)
            return base::fail_sys(name_ + ": drop pages");
        dropped_ += (end_ - start_) / base::kPageSize;
        start_ = end_;
        return {};
    }

    base::UniqueFd fd_;
    std::string name_;
    uint64_t start_ = 0, end_ = 0, dropped_ = 0;
};

/// Drops from one level what is in `newer`.
Result<uint64_t> drop_from_level(const Chain &chain, size_t level, MemoryImage memory,
                                 const std::vector<Extent> &newer) {
    const auto pagemap = TRY_CTX(chain.level(level).read_pagemap(memory.kind, memory.id), name_in_chain(level, ""));
    if (pagemap.stored_bytes == 0)
        return 0;
    if (pagemap.packed)
        return base::unsupported(name_in_chain(level, image::image_file_name(memory.kind, memory.id)) +
                                 ": compressed pages cannot be dropped one by one");
    TRY(image::check_pages_file(chain.level(level), memory.kind, memory.id, pagemap));
    Puncher puncher = TRY(Puncher::open(chain, level, pagemap.head.pages_id()));
    auto extent = newer.begin();
    for (size_t i = 0; i < pagemap.entries.size(); i++) {
        const img::pagemap_entry &entry = pagemap.entries[i];
        if (!(image::flags_of(entry) & image::kPePresent))
            continue;
        for (; extent != newer.end() && extent->end() <= entry.vaddr(); ++extent) {
        }
        for (auto hole = extent; hole != newer.end() && hole->start < image::end_of(entry); ++hole) {
            const uint64_t from = std::max(hole->start, entry.vaddr()),
                           to = std::min(hole->end(), image::end_of(entry));
            TRY(puncher.add(pagemap.offsets[i] + (from - entry.vaddr()), to - from));
        }
    }
    return puncher.finish();
}

} // namespace

Result<uint64_t> drop_superseded(const Chain &chain) {
    uint64_t dropped = 0;
    for (const MemoryImage &memory : TRY(memory_images(chain.newest()))) {
        const auto pagemap = TRY(chain.newest().read_pagemap(memory.kind, memory.id));
        std::vector<Extent> newer;
        for (const img::pagemap_entry &entry : pagemap.entries)
            if (image::flags_of(entry) & image::kPePresent)
                append(newer, extent_of(entry.vaddr(), image::end_of(entry)));
        for (size_t level = 1; level < chain.depth() && !newer.empty(); level++)
            dropped += TRY(drop_from_level(chain, level, memory, newer));
    }
    return dropped;
}

Result<uint64_t> dedup(int images_dir_fd) {
    const Chain chain = TRY_CTX(Chain::open(images_dir_fd), "dedup");
    if (chain.depth() == 1)
        return base::bad_image("dedup: the images build on no others: there is no link parent");
    return TRY_CTX(drop_superseded(chain), "dedup");
}

namespace {

/// Compressed entries of a level all of whose pages were looked for there.
std::vector<PackedRun> whole_packed_runs(const PageIndex &index, size_t level) {
    std::vector<PackedRun> whole;
    for (const Run &run : index.runs)
        if (run.level == level && run.is_packed())
            if (const PackedRun &packed = index.packed[run.packed]; packed.start == run.start && packed.end == run.end)
                whole.push_back(packed);
    return whole;
}

} // namespace

Result<uint64_t> drop_restored(const Chain &chain) {
    uint64_t dropped = 0;
    for (const MemoryImage &memory : TRY(memory_images(chain.newest()))) {
        const PageIndex index = TRY(index_pages(chain, memory.kind, memory.id));
        for (size_t level = 0; level < index.files.size(); level++) {
            if (!index.files[level])
                continue;
            Puncher puncher = TRY(Puncher::open(chain, level, *index.files[level]));
            for (const Run &run : index.runs)
                if (run.level == level && !run.is_packed())
                    TRY(puncher.add(run.offset, run.end - run.start));
            for (const PackedRun &run : whole_packed_runs(index, level))
                TRY(puncher.add(run.offsets.front(), run.offsets.back() - run.offsets.front()));
            dropped += TRY(puncher.finish());
        }
    }
    return dropped;
}

} // namespace pages
