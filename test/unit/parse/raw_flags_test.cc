#include "criu/parse/raw_flags.hh"

#include <catch2/catch.hpp>

using parse::VmFlag;

TEST_CASE("flags of a mapping as the kernel keeps them", "[parse]") {
    SECTION("what smaps would print") {
        const auto heap = parse::flags_of_raw(0x100073); // rd wr mr mw me ac
        REQUIRE(heap);
        parse::VmFlags expected;
        for (VmFlag flag : {VmFlag::Rd, VmFlag::Wr, VmFlag::Mr, VmFlag::Mw, VmFlag::Me, VmFlag::Ac})
            expected.set(flag);
        CHECK(*heap == expected);
        CHECK(parse::flags_of_raw(0x80000000)->has(VmFlag::Mg));
        CHECK(parse::flags_of_raw(0)->bits() == 0);
    }
    SECTION("what the numbers do not tell") {
        CHECK_FALSE(parse::flags_of_raw(0x800));                 // has had two meanings
        CHECK_FALSE(parse::flags_of_raw(0x400000));              // hugetlbfs: the size of its pages is wanted
        CHECK_FALSE(parse::flags_of_raw(uint64_t{1} << 32 | 1)); // a protection key
    }
}
