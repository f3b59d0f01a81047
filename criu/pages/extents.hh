// Sets of pages: ascending extents that do not overlap. Pure.
#pragma once

#include "base/ids.hh"

#include <vector>

namespace pages {

/// Pages, one after the other.
struct Extent {
    uint64_t start = 0; ///< address
    uint64_t pages = 0;
    uint64_t end() const { return start + pages * base::kPageSize; }
    bool operator==(const Extent &) const = default;
};

/// The extent between two page-aligned addresses.
inline Extent extent_of(uint64_t start, uint64_t end) {
    return {start, (end - start) / base::kPageSize};
}

/// Appends, joining with the last extent where they touch.
void append(std::vector<Extent> &extents, Extent extent);

/// What is in both. Linear in both.
std::vector<Extent> intersect(const std::vector<Extent> &a, const std::vector<Extent> &b);

/// What is in `a` and not in `b`. Linear in both.
std::vector<Extent> subtract(const std::vector<Extent> &a, const std::vector<Extent> &b);

/// What is in either. Linear in both.
std::vector<Extent> unite(const std::vector<Extent> &a, const std::vector<Extent> &b);

/// How many pages it is in all.
uint64_t pages_in(const std::vector<Extent> &extents);

} // namespace pages
