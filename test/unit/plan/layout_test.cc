#include "criu/plan/layout.hh"

#include "base/ids.hh"

#include <catch2/catch.hpp>

TEST_CASE("the arena touches nothing and is aligned to huge pages") {
    std::vector<plan::Range> taken{
        {0x400000, 0x500000}, {0x7f0000000000, 0x7fffffffe000}, {0x10000000000, 0x10040000000}};
    auto arena = plan::place_arena(taken, 1ull << 40);
    REQUIRE(arena.has_value());
    CHECK(arena->base % base::kHugePageSize == 0);
    CHECK(arena->memory() + (1ull << 40) <= arena->end());
    for (const plan::Range &range : taken)
        CHECK((range.end <= arena->base || range.start >= arena->end()));
}

TEST_CASE("an address space that is full is refused") {
    CHECK_FALSE(plan::place_arena({{0x1000, 0x7fffffff0000}}, 1u << 20).has_value());
}

TEST_CASE("plans of processes that share memory lie side by side") {
    const plan::Arena arena{.base = 1ull << 40, .size = 1ull << 32};
    for (const size_t processes : {1ul, 2ul, 3ul, 50ul}) {
        uint64_t end = arena.data();
        for (size_t place = 0; place < processes; place++) {
            const plan::Range room = plan::plan_room(arena, place, processes);
            CHECK(room.start == end);
            CHECK(room.start % base::kPageSize == 0);
            CHECK(room.end > room.start);
            end = room.end;
        }
        CHECK(end == arena.memory());
    }
}
