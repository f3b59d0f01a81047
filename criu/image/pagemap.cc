#include "criu/image/pagemap.hh"

#include "base/ids.hh"

#include <fmt/format.h>
#include <google/protobuf/unknown_field_set.h>
#include <utility>

namespace image {

uint64_t pages_of(const img::pagemap_entry &run) {
    return run.has_nr_pages() ? run.nr_pages() : run.compat_nr_pages();
}

img::pagemap_entry present_run(uint64_t vaddr, uint64_t pages) {
    img::pagemap_entry run;
    run.set_vaddr(vaddr);
    run.set_compat_nr_pages(std::in_range<uint32_t>(pages) ? static_cast<uint32_t>(pages) : 0);
    run.set_nr_pages(pages);
    run.set_flags(kPePresent);
    return run;
}

uint64_t end_of(const img::pagemap_entry &run) {
    return run.vaddr() + pages_of(run) * base::kPageSize;
}

uint32_t flags_of(const img::pagemap_entry &run) {
    if (run.in_parent()) // whatever the flags say, as CRIU reads it
        return kPeParent;
    const uint32_t flags = run.has_flags() ? run.flags() : kPePresent;
    return flags & kPePresent ? flags & ~kPeAligned : flags;
}

uint64_t payload_of(const img::pagemap_entry &run) {
    if (!(flags_of(run) & kPePresent))
        return 0;
    return run.has_blocks() ? run.blocks().total_payload_size() : end_of(run) - run.vaddr();
}

namespace {

/// Sizes of blocks in the form that came before: single numbers where the message is now.
void modernise(img::pagemap_entry &run) {
    constexpr int kSizes = 6;
    google::protobuf::UnknownFieldSet *unknown = run.mutable_unknown_fields();
    if (run.has_blocks() || unknown->empty())
        return;
    for (int i = 0; i < unknown->field_count(); i++)
        if (const auto &field = unknown->field(i);
            field.number() == kSizes && field.type() == google::protobuf::UnknownField::TYPE_VARINT)
            run.mutable_blocks()->add_block_sizes(
                static_cast<uint32_t>(std::min<uint64_t>(field.varint(), UINT32_MAX)));
    if (!run.has_blocks())
        return;
    unknown->DeleteByNumber(kSizes);
    run.mutable_blocks()->set_total_payload_size(run.total_compressed_size());
    run.mutable_blocks()->set_pages_per_block(run.region_pages() ? run.region_pages() : 1);
    run.clear_total_compressed_size(), run.clear_region_pages();
}

/// Null where the blocks of a run contradict each other.
const char *complaint(const img::pagemap_entry &run) {
    const auto &blocks = run.blocks();
    const uint64_t each = uint64_t{blocks.pages_per_block()} * base::kPageSize;
    const uint64_t bytes = end_of(run) - run.vaddr();
    if (!(flags_of(run) & kPePresent) || flags_of(run) & kPeParent)
        return "blocks of pages that are not here";
    if (each == 0 || each > kMostBlockBytes)
        return "blocks of an impossible size";
    if (static_cast<uint64_t>(blocks.block_sizes_size()) != bytes / each + (bytes % each != 0))
        return "not as many blocks as it has pages for";
    uint64_t sum = 0;
    for (int i = 0; i < blocks.block_sizes_size(); i++) {
        const uint64_t most = std::min(each, bytes - static_cast<uint64_t>(i) * each);
        if (blocks.block_sizes(i) > most)
            return "a block that is larger than what is in it";
        sum += blocks.block_sizes(i);
    }
    if (sum != blocks.total_payload_size())
        return "blocks whose sizes are not what they are in all";
    if (blocks.codec() > static_cast<uint32_t>(Codec::Zstd))
        return "blocks that are compressed in a way that is not known";
    return nullptr;
}

bool is_aligned(const img::pagemap_entry &run) {
    return flags_of(run) & kPePresent && run.flags() & kPeAligned;
}

} // namespace

base::Result<PagemapImage> ImageDir::read_pagemap(ImageKind kind, uint64_t id) const {
    PagemapImage image;
    auto file = TRY(open_entries(kind, id));
    if (!file)
        return image;
    std::string name = image_file_name(kind, id);
    if (!TRY(file->reader.next(image.head)))
        return base::bad_image(name + ": offset 8: truncated: no head");
    uint64_t end = 0;
    img::pagemap_entry run;
    while (auto place = TRY(file->reader.next(run))) {
        uint64_t pages = pages_of(run);
        bool fits = run.vaddr() % base::kPageSize == 0 && run.vaddr() >= end &&
                    pages <= (UINT64_MAX - run.vaddr()) / base::kPageSize;
        if (!fits)
            return base::bad_image(fmt::format("{}: offset {}: {} pages at {:#x} overlap or overflow", name,
                                               place->offset, pages, run.vaddr()));
        end = run.vaddr() + pages * base::kPageSize;
        modernise(run);
        if (const char *wrong = run.has_blocks() ? complaint(run) : nullptr)
            return base::bad_image(
                fmt::format("{}: offset {}: {} pages at {:#x}: {}", name, place->offset, pages, run.vaddr(), wrong));
        image.packed |= run.has_blocks();
        image.offsets.push_back(is_aligned(run) ? base::page_up(image.stored_bytes) : image.stored_bytes);
        const uint64_t payload = payload_of(run);
        if (payload > UINT64_MAX / 2 - image.offsets.back())
            return base::bad_image(fmt::format("{}: offset {}: more pages than any file has", name, place->offset));
        if (payload || is_aligned(run))
            image.stored_bytes = image.offsets.back() + payload;
        image.entries.push_back(std::move(run));
        run.Clear();
    }
    return image;
}

base::Result<void> check_pages_file(const ImageDir &dir, ImageKind kind, uint64_t id, const PagemapImage &pagemap) {
    const uint64_t needed = pagemap.stored_bytes;
    uint64_t size = TRY(dir.file_size(ImageKind::Pages, pagemap.head.pages_id()));
    if (size < needed)
        return base::bad_image(fmt::format("{}: offset {}: truncated: {} describes {} bytes",
                                           image_file_name(ImageKind::Pages, pagemap.head.pages_id()), size,
                                           image_file_name(kind, id), needed));
    if (pagemap.packed && size != needed)
        return base::bad_image(fmt::format("{}: has {} bytes, {} describes {}",
                                           image_file_name(ImageKind::Pages, pagemap.head.pages_id()), size,
                                           image_file_name(kind, id), needed));
    return {};
}

} // namespace image
