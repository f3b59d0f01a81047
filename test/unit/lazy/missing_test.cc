#include "criu/engine/lazy/missing.hh"

#include <catch2/catch.hpp>
#include <map>
#include <random>

using lazy::Missing;
using lazy::Piece;

TEST_CASE("lazy: pages are taken around a fault") {
    Missing missing;
    missing.add({0x13000, 0x48000, 0x13000});
    CHECK_FALSE(missing.take_around(0x12fff, 0x10000));
    CHECK(missing.take_around(0x15000, 0x10000) == Piece{0x13000, 0x20000, 0x13000});
    CHECK(missing.take_around(0x25678, 0x10000) == Piece{0x20000, 0x30000, 0x20000});
    CHECK_FALSE(missing.take_around(0x25678, 0x10000));
    CHECK(missing.take_around(0x47fff, 0x10000) == Piece{0x40000, 0x48000, 0x40000});
    CHECK(missing.take_first(0x4000) == Piece{0x30000, 0x34000, 0x30000});
    CHECK(missing.bytes() == 0xc000);
}

TEST_CASE("lazy: what is moved keeps the place where it is saved") {
    Missing missing;
    missing.add({0x10000, 0x20000, 0x10000});
    missing.add({0x40000, 0x50000, 0x40000});
    missing.move(0x14000, 0x44000, 0x4000);
    CHECK(missing.pieces() == std::vector<Piece>{{0x10000, 0x14000, 0x10000},
                                                 {0x18000, 0x20000, 0x18000},
                                                 {0x40000, 0x44000, 0x40000},
                                                 {0x44000, 0x48000, 0x14000},
                                                 {0x48000, 0x50000, 0x48000}});
    missing.drop(0x12000, 0x46000);
    CHECK(missing.pieces() ==
          std::vector<Piece>{{0x10000, 0x12000, 0x10000}, {0x46000, 0x48000, 0x16000}, {0x48000, 0x50000, 0x48000}});
    CHECK(missing.take_all().size() == 3);
    CHECK(missing.empty());
}

TEST_CASE("lazy: any sequence of changes agrees with a table of pages") {
    std::minstd_rand random(7);
    auto below = [&](uint64_t n) { return random() % n; };
    constexpr uint64_t kPages = 64, kPage = 0x1000;
    for (int round = 0; round < 200; round++) {
        Missing missing;
        std::map<uint64_t, uint64_t> table;
        missing.add({0, kPages / 2 * kPage, 0x100000});
        for (uint64_t i = 0; i < kPages / 2; i++)
            table[i * kPage] = 0x100000 + i * kPage;
        for (int step = 0; step < 40; step++) {
            const uint64_t from = below(kPages) * kPage, size = (1 + below(12)) * kPage, to = below(kPages) * kPage;
            if (below(3) == 0) {
                missing.drop(from, from + size);
                std::erase_if(table, [&](auto &page) { return page.first >= from && page.first < from + size; });
            } else if (below(2) == 0 && (to + size <= from || from + size <= to)) { // mremap refuses to overlap
                missing.move(from, to, size);
                std::map<uint64_t, uint64_t> moved;
                for (auto &[at, saved] : table)
                    if (at >= from && at < from + size)
                        moved[at - from + to] = saved;
                std::erase_if(table, [&](auto &page) {
                    return (page.first >= from && page.first < from + size) ||
                           (page.first >= to && page.first < to + size);
                });
                table.merge(moved);
            } else if (auto piece = missing.take_around(from, 4 * kPage)) {
                for (uint64_t at = piece->start; at < piece->end; at += kPage) {
                    REQUIRE(table.at(at) == piece->saved + (at - piece->start));
                    table.erase(at);
                }
            }
        }
        std::map<uint64_t, uint64_t> left;
        for (const Piece &piece : missing.pieces())
            for (uint64_t at = piece.start; at < piece.end; at += kPage)
                left[at] = piece.saved + (at - piece.start);
        REQUIRE(left == table);
    }
}
