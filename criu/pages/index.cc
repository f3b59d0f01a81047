#include "criu/pages/index.hh"

#include "base/ids.hh"
#include "criu/image/pagemap.hh"

#include <algorithm>
#include <fmt/format.h>

namespace pages {
namespace {

/// Addresses that are looked for.
struct Stretch {
    uint64_t start, end;
};

void append_stretch(std::vector<Stretch> &to, Stretch stretch) {
    if (!to.empty() && to.back().end == stretch.start)
        to.back().end = stretch.end;
    else
        to.push_back(stretch);
}

/// Joins with the run before where both go on in memory and in the file: CRIU ends a run every megabyte.
void append_run(std::vector<Run> &to, const Run &run) {
    if (!to.empty() && to.back().end == run.start && to.back().level == run.level && to.back().lazy == run.lazy &&
        to.back().remote == run.remote && to.back().packed == run.packed &&
        (run.remote || run.is_packed() || to.back().offset + (run.start - to.back().start) == run.offset))
        to.back().end = run.end;
    else
        to.push_back(run);
}

/// Looks one memory up, from the newest directory to the oldest.
class Resolver {
public:
    Resolver(const Chain &chain, image::ImageKind kind, uint64_t id) : chain_(chain), kind_(kind), id_(id) {}

    Result<PageIndex> run() {
        for (; level_ == 0 || !wanted_.empty(); level_++) {
            if (level_ == chain_.depth())
                return base::bad_image(fmt::format("{} refers to pages of a parent directory, and there is none",
                                                   name_in_chain(level_ - 1, image::image_file_name(kind_, id_))));
            TRY(look_into_level());
        }
        if (index_.files.size() > 1)
            std::ranges::sort(index_.runs, {}, &Run::start);
        return std::move(index_);
    }

private:
    std::string name() const { return name_in_chain(level_, image::image_file_name(kind_, id_)); }

    Result<void> look_into_level() {
        const image::PagemapImage pagemap = TRY(in_parents(chain_.level(level_).read_pagemap(kind_, id_)));
        TRY(check_flags(pagemap));
        if (level_ == 0) {
            for (const img::pagemap_entry &entry : pagemap.entries)
                append_stretch(wanted_, {entry.vaddr(), image::end_of(entry)});
            index_.told_size = pagemap.head.object_size();
        }
        const bool used = TRY(find_wanted(pagemap));
        index_.files.push_back(used ? std::optional(pagemap.head.pages_id()) : std::nullopt);
        if (used)
            TRY(in_parents(image::check_pages_file(chain_.level(level_), kind_, id_, pagemap)));
        return {};
    }

    /// Says of an error in which directory it is, unless that is the newest.
    template <class T> Result<T> in_parents(Result<T> result) const {
        if (!result && level_ > 0)
            return base::fail(std::move(result.error().ctx(name_in_chain(level_, ""))));
        return result;
    }

    Result<void> check_flags(const image::PagemapImage &pagemap) const {
        for (const img::pagemap_entry &entry : pagemap.entries)
            switch (const uint32_t flags = image::flags_of(entry)) {
            case image::kPePresent:
            case image::kPePresent | image::kPeLazy:
            case image::kPeParent:
            case image::kPeParent | image::kPeLazy:
                break;
            case image::kPeLazy:
                if (kind_ == image::ImageKind::Pagemap)
                    break;
                return base::unsupported(
                    fmt::format("{}: the pages at {:#x} were left with a page server", name(), entry.vaddr()));
            default:
                return base::bad_image(
                    fmt::format("{}: the pages at {:#x} have the flags {:#x}", name(), entry.vaddr(), flags));
            }
        return {};
    }

    /// Puts what is here into the index, and what is further back into `wanted_`. Whether the pages file has some of
    /// it.
    Result<bool> find_wanted(const image::PagemapImage &pagemap) {
        bool used = false;
        std::vector<Stretch> further;
        size_t i = 0;
        packed_ = Run::kPlain;
        for (const Stretch &stretch : wanted_)
            for (uint64_t at = stretch.start; at < stretch.end;) {
                for (; i < pagemap.entries.size() && image::end_of(pagemap.entries[i]) <= at; i++)
                    packed_ = Run::kPlain;
                if (i == pagemap.entries.size() || pagemap.entries[i].vaddr() > at)
                    return base::bad_image(fmt::format("{} has no entry for the page at {:#x}, which {} refers to",
                                                       name(), at,
                                                       name_in_chain(level_ - 1, image::image_file_name(kind_, id_))));
                const img::pagemap_entry &entry = pagemap.entries[i];
                const uint64_t end = std::min(stretch.end, image::end_of(entry));
                const uint32_t flags = image::flags_of(entry);
                if (flags & image::kPeParent)
                    append_stretch(further, {at, end});
                else if (flags == image::kPeLazy)
                    append_run(index_.runs, {.start = at, .end = end, .lazy = true, .remote = true});
                else
                    append_run(index_.runs, stored_run(entry, pagemap.offsets[i], at, end));
                used |= (flags & image::kPePresent) != 0;
                at = end;
            }
        wanted_ = std::move(further);
        return used;
    }

    /// The part of an entry whose contents are in the pages file of this level, from `offset` on.
    Run stored_run(const img::pagemap_entry &entry, uint64_t offset, uint64_t at, uint64_t end) {
        Run run{.start = at,
                .end = end,
                .level = static_cast<uint32_t>(level_),
                .lazy = (image::flags_of(entry) & image::kPeLazy) != 0};
        if (!entry.has_blocks()) {
            run.offset = offset + (at - entry.vaddr());
            return run;
        }
        if (packed_ == Run::kPlain) {
            packed_ = static_cast<uint32_t>(index_.packed.size());
            index_.packed.push_back(packed_run(entry, offset));
        }
        run.packed = packed_;
        return run;
    }

    static PackedRun packed_run(const img::pagemap_entry &entry, uint64_t offset) {
        PackedRun packed{.start = entry.vaddr(),
                         .end = image::end_of(entry),
                         .block_bytes = uint64_t{entry.blocks().pages_per_block()} * base::kPageSize,
                         .codec = static_cast<image::Codec>(entry.blocks().codec()),
                         .offsets = {offset}};
        for (const uint32_t size : entry.blocks().block_sizes())
            packed.offsets.push_back(packed.offsets.back() + size);
        return packed;
    }

    const Chain &chain_;
    image::ImageKind kind_;
    uint64_t id_;
    size_t level_ = 0;
    std::vector<Stretch> wanted_;   ///< ascending
    uint32_t packed_ = Run::kPlain; ///< of the entry that is looked at, if it is in the index already
    PageIndex index_;
};

} // namespace

PageIndex::Iterator PageIndex::first_behind(uint64_t at) const {
    return std::partition_point(runs.begin(), runs.end(), [at](const Run &run) { return run.end <= at; });
}

uint64_t PageIndex::object_size() const {
    return std::max(base::page_up(told_size), runs.empty() ? 0 : runs.back().end);
}

Result<PageIndex> index_pages(const Chain &chain, image::ImageKind kind, uint64_t id) {
    return Resolver(chain, kind, id).run();
}

} // namespace pages
