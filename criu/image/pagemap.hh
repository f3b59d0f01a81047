// Which pages of a memory are saved, and where: runs of pages, ascending, whose contents lie one after the other in
// pages-N.img (N is in the head), or in the parent's images.
//
// The contents of a run may be compressed, in blocks of equal numbers of pages. They then take as many bytes as the
// run says; what is stored as it is begins at the next page of the file where the run says so.
#pragma once

#include "base/result.hh"
#include "criu/image/codec.hh"
#include "criu/image/image_dir.hh"
#include "pagemap.pb.h"

#include <vector>

namespace image {

// pagemap_entry.flags
inline constexpr uint32_t kPeParent = 1;  ///< the pages are in the parent's images
inline constexpr uint32_t kPeLazy = 2;    ///< the pages may come later
inline constexpr uint32_t kPePresent = 4; ///< the pages are in pages-N.img
inline constexpr uint32_t kPeAligned = 8; ///< and begin at the next page boundary of it

struct PagemapImage {
    img::pagemap_head head;
    std::vector<img::pagemap_entry> entries;
    std::vector<uint64_t> offsets; ///< by entry: where its contents begin in pages-N.img
    uint64_t stored_bytes = 0;     ///< that pages-N.img must hold
    bool packed = false;           ///< some run is compressed
};

/// Pages of a run: 64 bits since CRIU 4.1, 32 before.
uint64_t pages_of(const img::pagemap_entry &run);
/// A run whose contents are in pages-N.img. Written in both forms, so that older versions of CRIU read it as well.
img::pagemap_entry present_run(uint64_t vaddr, uint64_t pages);
/// The address behind a run.
uint64_t end_of(const img::pagemap_entry &run);
/// Flags of a run, but for kPeAligned of a present one; those of images from before the field are derived from
/// in_parent.
uint32_t flags_of(const img::pagemap_entry &run);
/// Bytes of the run in the pages file, without what lies before it to align it.
uint64_t payload_of(const img::pagemap_entry &run);

/// Checks that pages-N.img is as long as the pagemap needs. Errors: BadImage that names both files.
base::Result<void> check_pages_file(const ImageDir &dir, ImageKind kind, uint64_t id, const PagemapImage &pagemap);

} // namespace image
