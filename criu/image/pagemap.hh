// Which pages of a memory are saved, and where: runs of pages, ascending, whose contents lie one after the other in
// pages-N.img (N is in the head), or in the parent's images.
#pragma once

#include "base/result.hh"
#include "criu/image/image_dir.hh"
#include "pagemap.pb.h"

#include <vector>

namespace image {

// pagemap_entry.flags
inline constexpr uint32_t kPeParent = 1;  ///< the pages are in the parent's images
inline constexpr uint32_t kPeLazy = 2;    ///< the pages may come later
inline constexpr uint32_t kPePresent = 4; ///< the pages are in pages-N.img

struct PagemapImage {
    img::pagemap_head head;
    std::vector<img::pagemap_entry> entries;

    /// Pages that pages-N.img must hold.
    uint64_t stored_pages() const;
};

/// Pages of a run: 64 bits since CRIU 4.1, 32 before.
uint64_t pages_of(const img::pagemap_entry &run);
/// A run whose contents are in pages-N.img. Written in both forms, so that older versions of CRIU read it as well.
img::pagemap_entry present_run(uint64_t vaddr, uint64_t pages);
/// The address behind a run.
uint64_t end_of(const img::pagemap_entry &run);
/// Flags of a run; those of images from before the field are derived from in_parent.
uint32_t flags_of(const img::pagemap_entry &run);

/// Checks that pages-N.img is as long as the pagemap needs. Errors: BadImage that names both files.
base::Result<void> check_pages_file(const ImageDir &dir, ImageKind kind, uint64_t id, const PagemapImage &pagemap);

} // namespace image
