// Sets of pages, and what of a dump is left to its parent.
#include "criu/engine/dump/memory.hh"
#include "criu/pages/extents.hh"

#include <catch2/catch.hpp>

namespace {

using pages::Extent;
using Set = std::vector<Extent>;

constexpr uint64_t kPage = 4096;

/// From page to page.
Extent pages_of(uint64_t from, uint64_t to) {
    return pages::extent_of(from * kPage, to * kPage);
}

TEST_CASE("sets of pages are intersected and subtracted", "[pages]") {
    const Set a{pages_of(1, 5), pages_of(7, 9), pages_of(20, 30)};
    const Set b{pages_of(0, 2), pages_of(4, 8), pages_of(22, 23), pages_of(25, 26), pages_of(29, 40)};
    CHECK(pages::intersect(a, b) ==
          Set{pages_of(1, 2), pages_of(4, 5), pages_of(7, 8), pages_of(22, 23), pages_of(25, 26), pages_of(29, 30)});
    CHECK(pages::subtract(a, b) ==
          Set{pages_of(2, 4), pages_of(8, 9), pages_of(20, 22), pages_of(23, 25), pages_of(26, 29)});
    CHECK(pages::intersect(a, {}).empty());
    CHECK(pages::subtract(a, {}) == a);
    CHECK(pages::subtract({}, a).empty());
    CHECK(pages::subtract(a, a).empty());
    CHECK(pages::intersect(a, a) == a);
    CHECK(pages::pages_in(a) == 16);
}

TEST_CASE("sets of pages are united", "[pages]") {
    const Set a{pages_of(1, 5), pages_of(7, 9), pages_of(20, 30)};
    CHECK(pages::unite(a, {pages_of(0, 1), pages_of(4, 8), pages_of(22, 23), pages_of(40, 41)}) ==
          Set{pages_of(0, 9), pages_of(20, 30), pages_of(40, 41)});
    CHECK(pages::unite(a, {}) == a);
    CHECK(pages::unite({}, a) == a);
    CHECK(pages::unite(a, a) == a);
}

TEST_CASE("every split of a set is found again", "[pages]") {
    const Set whole{pages_of(0, 64)};
    for (uint64_t bits = 1; bits < 5000; bits = bits * 7 / 5 + 1) {
        Set some;
        for (uint64_t page = 0; page < 64; page++)
            if ((bits * 0x9E3779B97F4A7C15ull) >> page & 1)
                pages::append(some, pages_of(page, page + 1));
        const Set rest = pages::subtract(whole, some);
        CHECK(pages::pages_in(some) + pages::pages_in(rest) == 64);
        CHECK(pages::intersect(some, rest).empty());
        CHECK(pages::subtract(whole, rest) == some);
    }
}

TEST_CASE("only what is unchanged and covered is left to the parent", "[pages]") {
    const std::vector<dump::PageRun> runs{{pages_of(10, 20), true, true}, {pages_of(20, 24), false, false}};
    const auto out =
        dump::without_parents_pages(runs, {pages_of(12, 15), pages_of(18, 30)}, {pages_of(0, 14), pages_of(19, 22)});
    std::vector<std::pair<Extent, bool>> found;
    for (const dump::PageRun &run : out)
        found.emplace_back(run.extent, run.in_parent);
    CHECK(found == std::vector<std::pair<Extent, bool>>{{pages_of(10, 12), false},
                                                        {pages_of(12, 14), true},
                                                        {pages_of(14, 19), false},
                                                        {pages_of(19, 20), true},
                                                        {pages_of(20, 22), true},
                                                        {pages_of(22, 24), false}});
    CHECK(out[0].lazy);
    CHECK_FALSE(out[5].readable);
    CHECK(dump::without_parents_pages(runs, {}, {pages_of(0, 99)}).size() == 2);
}

} // namespace
