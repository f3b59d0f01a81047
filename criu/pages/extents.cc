#include "criu/pages/extents.hh"

#include <algorithm>

namespace pages {

void append(std::vector<Extent> &extents, Extent extent) {
    if (!extents.empty() && extents.back().end() == extent.start)
        extents.back().pages += extent.pages;
    else
        extents.push_back(extent);
}

std::vector<Extent> intersect(const std::vector<Extent> &a, const std::vector<Extent> &b) {
    std::vector<Extent> both;
    for (auto x = a.begin(), y = b.begin(); x != a.end() && y != b.end();) {
        const uint64_t start = std::max(x->start, y->start), end = std::min(x->end(), y->end());
        if (start < end)
            append(both, extent_of(start, end));
        x->end() < y->end() ? (void)++x : (void)++y;
    }
    return both;
}

std::vector<Extent> subtract(const std::vector<Extent> &a, const std::vector<Extent> &b) {
    std::vector<Extent> rest;
    auto less = b.begin();
    for (const Extent &extent : a) {
        uint64_t at = extent.start;
        for (; less != b.end() && less->end() <= at; ++less) {
        }
        for (auto hole = less; hole != b.end() && hole->start < extent.end(); ++hole) {
            if (hole->start > at)
                append(rest, extent_of(at, hole->start));
            at = std::max(at, hole->end());
        }
        if (at < extent.end())
            append(rest, extent_of(at, extent.end()));
    }
    return rest;
}

std::vector<Extent> unite(const std::vector<Extent> &a, const std::vector<Extent> &b) {
    std::vector<Extent> all;
    for (auto x = a.begin(), y = b.begin(); x != a.end() || y != b.end();) {
        const bool first = y == b.end() || (x != a.end() && x->start <= y->start);
        const Extent next = first ? *x++ : *y++;
        if (!all.empty() && next.start <= all.back().end())
            all.back() = extent_of(all.back().start, std::max(all.back().end(), next.end()));
        else
            all.push_back(next);
    }
    return all;
}

uint64_t pages_in(const std::vector<Extent> &extents) {
    uint64_t sum = 0;
    for (const Extent &extent : extents)
        sum += extent.pages;
    return sum;
}

} // namespace pages
