// The memory of a checkpoint by address: which pages are saved, and where.
#pragma once

#include "base/result.hh"
#include "criu/pages/source.hh"

#include <functional>
#include <memory>

namespace crit {

/// A stretch of saved pages.
struct SavedPages {
    uint64_t start = 0, end = 0; ///< addresses, or offsets in a shared object
    std::shared_ptr<const pages::OpenMemory> memory;
    uint64_t at = 0; ///< where in it
};

/// Pages of one address space, or of one shared object; those in the images of earlier dumps are found there.
class SavedMemory {
public:
    static base::Result<SavedMemory> load(const image::ImageDir &dir, image::ImageKind kind, uint64_t id);
    /// Calls `use` for each stretch of saved pages within [start, end), ascending.
    base::Result<void> each(uint64_t start, uint64_t end,
                            const std::function<base::Result<void>(const SavedPages &)> &use) const;

private:
    std::shared_ptr<const pages::OpenMemory> memory_;
};

} // namespace crit
