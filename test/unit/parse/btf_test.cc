#include "criu/parse/btf.hh"

#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>

using parse::Btf;
using parse::BtfMember;

namespace {

std::string read_whole(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

} // namespace

TEST_CASE("type information of the kernel", "[parse]") {
    const std::string bytes = read_whole(SOURCE_ROOT "/test/fuzz/corpus/btf/small");
    auto btf = Btf::parse(bytes);
    REQUIRE(btf);
    SECTION("members") {
        CHECK(btf->member("outer", "first") == BtfMember{0, 4});
        CHECK(btf->member("outer", "inner.value") == BtfMember{12, 4}); // behind const and typedef
        CHECK(btf->member("outer", "unnamed") == BtfMember{16, 12});    // an array in a union without a name
        CHECK(btf->member("outer", "pointer") == BtfMember{32, 8});
        CHECK(btf->member("outer", "second") == BtfMember{4, 4}); // only the other structure of that name has it
        CHECK(btf->size_of("inner") == 8u);
    }
    SECTION("what is not there") {
        CHECK_FALSE(btf->member("outer", "narrow")); // a bit field
        CHECK_FALSE(btf->member("outer", "inner.x"));
        CHECK_FALSE(btf->member("outer", "pointer.value"));
        CHECK_FALSE(btf->member("inner_t", "value"));
        CHECK_FALSE(btf->size_of("other"));
    }
    SECTION("damage") {
        CHECK_FALSE(Btf::parse(""));
        CHECK_FALSE(Btf::parse(bytes.substr(0, bytes.size() - 1)));
        CHECK_FALSE(Btf::parse("x" + bytes));
    }
}

TEST_CASE("type information that leads back to itself ends", "[parse]") {
    const std::string bytes = read_whole(SOURCE_ROOT "/test/fuzz/corpus/btf/loops");
    auto btf = Btf::parse(bytes);
    REQUIRE(btf);
    CHECK_FALSE(btf->member("outer", "none"));
}

TEST_CASE("type information of the running kernel", "[parse]") {
    const std::string bytes = read_whole("/sys/kernel/btf/vmlinux");
    if (bytes.empty()) {
        WARN("skipped: this kernel has no /sys/kernel/btf/vmlinux");
        return;
    }
    auto btf = Btf::parse(bytes);
    REQUIRE(btf);
    CHECK(btf->member("list_head", "prev") == BtfMember{8, 8});
    CHECK(btf->member("sk_buff", "next") == BtfMember{0, 8}); // two levels without names
}
