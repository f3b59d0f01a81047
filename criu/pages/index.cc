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
        to.back().remote == run.remote &&
        (run.remote || to.back().offset + (run.start - to.back().start) == run.offset))
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
        const image::PagemapImage pagemap = TRY_CTX(chain_.level(level_).read_pagemap(kind_, id_), in_parents());
        TRY(check_flags(pagemap));
        if (level_ == 0) {
            for (const img::pagemap_entry &entry : pagemap.entries)
                append_stretch(wanted_, {entry.vaddr(), image::end_of(entry)});
            index_.told_size = pagemap.head.object_size();
        }
        const bool used = TRY(find_wanted(pagemap));
        index_.files.push_back(used ? std::optional(pagemap.head.pages_id()) : std::nullopt);
        if (used)
            TRY_CTX(image::check_pages_file(chain_.level(level_), kind_, id_, pagemap), in_parents());
        return {};
    }

    std::string in_parents() const { return name_in_chain(level_, ""); }

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
        uint64_t offset = 0; // of `entry` in the file
        auto entry = pagemap.entries.begin();
        for (const Stretch &stretch : wanted_)
            for (uint64_t at = stretch.start; at < stretch.end;) {
                for (; entry != pagemap.entries.end() && image::end_of(*entry) <= at; ++entry)
                    offset += stored(*entry);
                if (entry == pagemap.entries.end() || entry->vaddr() > at)
                    return base::bad_image(fmt::format("{} has no entry for the page at {:#x}, which {} refers to",
                                                       name(), at,
                                                       name_in_chain(level_ - 1, image::image_file_name(kind_, id_))));
                const uint64_t end = std::min(stretch.end, image::end_of(*entry));
                const uint32_t flags = image::flags_of(*entry);
                if (flags & image::kPeParent)
                    append_stretch(further, {at, end});
                else if (flags == image::kPeLazy)
                    append_run(index_.runs, {.start = at, .end = end, .lazy = true, .remote = true});
                else
                    append_run(index_.runs, {.start = at,
                                             .end = end,
                                             .offset = offset + (at - entry->vaddr()),
                                             .level = static_cast<uint32_t>(level_),
                                             .lazy = (flags & image::kPeLazy) != 0});
                used |= (flags & image::kPePresent) != 0;
                at = end;
            }
        wanted_ = std::move(further);
        return used;
    }

    static uint64_t stored(const img::pagemap_entry &entry) {
        return image::flags_of(entry) & image::kPePresent ? image::end_of(entry) - entry.vaddr() : 0;
    }

    const Chain &chain_;
    image::ImageKind kind_;
    uint64_t id_;
    size_t level_ = 0;
    std::vector<Stretch> wanted_; ///< ascending
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
