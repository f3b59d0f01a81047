// The memory of a checkpoint by address: which pages are saved, and where.
#pragma once

#include "base/result.hh"
#include "criu/image/image_dir.hh"
#include "criu/image/pagemap.hh"

#include <functional>
#include <vector>

namespace crit {

/// A stretch of saved pages.
struct SavedPages {
    uint64_t start = 0, end = 0; ///< addresses, or offsets in a shared object
    int fd = -1;                 ///< of the file of pages
    uint64_t at = 0;             ///< where in it
};

/// Pages of one address space, or of one shared object; those in the images of earlier dumps are found there.
class SavedMemory {
public:
    static base::Result<SavedMemory> load(const image::ImageDir &dir, image::ImageKind kind, uint64_t id);
    /// Calls `use` for each stretch of saved pages within [start, end), ascending.
    base::Result<void> each(uint64_t start, uint64_t end,
                            const std::function<base::Result<void>(const SavedPages &)> &use) const;

private:
    struct Level {
        image::PagemapImage pagemap;
        base::UniqueFd pages;
    };
    base::Result<void> each_in(size_t level, uint64_t start, uint64_t end,
                               const std::function<base::Result<void>(const SavedPages &)> &use) const;
    std::vector<Level> levels_; ///< the newest first
};

} // namespace crit
