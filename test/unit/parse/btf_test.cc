#include "criu/parse/btf.hh"

#include <catch2/catch.hpp>
#include <cstring>
#include <fstream>
#include <linux/btf.h>
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

template <class T> void append(std::string &bytes, const T &value) {
    bytes.append(reinterpret_cast<const char *>(&value), sizeof value);
}

/// A module with one structure of 16 bytes, "added", whose member "x" at 8 has a type of the kernel's own.
std::string small_module(const std::string &kernel, uint32_t type_of_x) {
    btf_header header{};
    memcpy(&header, kernel.data(), sizeof header);
    const uint32_t names = header.str_len;
    header.type_off = 0, header.type_len = sizeof(btf_type) + sizeof(btf_member);
    header.str_off = header.type_len, header.str_len = 8;
    std::string bytes;
    append(bytes, header);
    btf_type structure{};
    structure.name_off = names;
    structure.info = BTF_KIND_STRUCT << 24 | 1;
    structure.size = 16;
    append(bytes, structure);
    append(bytes, btf_member{.name_off = names + 6, .type = type_of_x, .offset = 64});
    return bytes + std::string("added\0x\0", 8);
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
    SECTION("a module") {
        const std::string module = small_module(bytes, 1); // an int
        REQUIRE(btf->add_module(module));
        CHECK(btf->member("added", "x") == BtfMember{8, 4});
        CHECK(btf->size_of("added") == 16u);
        CHECK(btf->member("outer", "inner.value") == BtfMember{12, 4});
        CHECK_FALSE(btf->add_module(module));
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
    CHECK(btf->function("vfs_read"));
    CHECK_FALSE(btf->function("list_head")); // a structure
}
