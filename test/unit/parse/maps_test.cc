#include "criu/parse/maps.hh"

#include <catch2/catch.hpp>
#include <chrono>
#include <fmt/format.h>
#include <sys/mman.h>

using namespace parse;

TEST_CASE("maps: every kind of line", "[parse]") {
    auto vmas =
        parse_maps("5583b84ac000-5583b84ae000 r--p 00000000 fe:00 247498                     /usr/bin/head\n"
                   "5583b84b7000-5583b84b8000 rw-p 0000b000 fe:00 247498                     /tmp/a b (deleted)\n"
                   "5583bf2f0000-5583bf311000 rw-p 00000000 00:00 0                          [heap]\n"
                   "7f1234000000-7f1234021000 -w-s 00001000 00:01 2049                       /dev/zero (deleted)\n"
                   "7f1234021000-7f1234022000 ---p 00000000 00:00 0 \n"
                   "7f1234022000-7f1234023000 r-xp 00000000 103:2a 7                         /x\\012y\\134\n"
                   "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n");
    REQUIRE(vmas);
    REQUIRE(vmas->size() == 7);
    const auto &v = *vmas;
    CHECK(v[0].start == 0x5583b84ac000);
    CHECK(v[0].size() == 0x2000);
    CHECK(v[0].prot == PROT_READ);
    CHECK_FALSE(v[0].shared);
    CHECK(v[0].dev_major == 0xfe);
    CHECK(v[0].inode == 247498);
    CHECK(v[0].name == "/usr/bin/head");
    CHECK_FALSE(v[0].has_smaps);
    CHECK(v[1].name == "/tmp/a b (deleted)");
    CHECK(v[1].deleted);
    CHECK(v[1].pgoff == 0xb000);
    CHECK(v[2].name == "[heap]");
    CHECK(v[3].shared);
    CHECK(v[3].prot == PROT_WRITE);
    CHECK(v[4].name.empty());
    CHECK(v[4].prot == PROT_NONE);
    CHECK(v[5].name == "/x\ny\\134"); // only newlines are escaped in maps
    CHECK(v[5].dev_major == 0x103);
    CHECK(v[6].prot == PROT_EXEC);
}

TEST_CASE("maps: damaged text is refused with its line", "[parse]") {
    for (const char *text : {"1000-1000 rw-p 00000000 00:00 0 \n", "2000-1000 rw-p 00000000 00:00 0 \n",
                             "1000-2001 rw-p 00000000 00:00 0 \n", "1000-2000 rw-z 00000000 00:00 0 \n",
                             "1000-2000 rw-p 0000", "1000-2000", "what\n", "1000-fffffffffffffffff000 rw-p 0 00:00 0\n",
                             "2000-3000 rw-p 0 0:0 0 \n1000-2000 rw-p 0 0:0 0 \n"})
        CHECK_FALSE(parse_maps(text));
    auto bad = parse_maps("1000-2000 rw-p 00000000 00:00 0 \nbad\n");
    REQUIRE_FALSE(bad);
    CHECK(bad.error().message() == "maps: line 2 cannot be understood: 'bad'");
    CHECK(parse_maps("")->empty());
}

TEST_CASE("smaps: sizes, flags and keys of a mapping", "[parse]") {
    auto vmas = parse_smaps("7ffc0b400000-7ffc0b421000 rw-p 00000000 00:00 0                          [stack]\n"
                            "Size:                132 kB\n"
                            "KernelPageSize:        4 kB\n"
                            "MMUPageSize:           4 kB\n"
                            "Rss:                  24 kB\n"
                            "Anonymous:            20 kB\n"
                            "AnonHugePages:      2048 kB\n"
                            "Swap:                  8 kB\n"
                            "Locked:               12 kB\n"
                            "THPeligible:           0\n"
                            "ProtectionKey:         5\n"
                            "VmFlags: rd wr mr mw me gd ac zz sl q1 \n"
                            "7ffc0b500000-7ffc0b501000 r--p 00000000 00:00 0 \n"
                            "VmFlags: rd mr dp\n");
    REQUIRE(vmas);
    const Vma &stack = vmas->at(0);
    CHECK(stack.has_smaps);
    CHECK(stack.rss_bytes == 24 << 10);
    CHECK(stack.anon_bytes == 20 << 10);
    CHECK(stack.anon_huge_bytes == 2 << 20);
    CHECK(stack.swap_bytes == 8 << 10);
    CHECK(stack.locked_bytes == 12 << 10);
    CHECK(stack.kernel_page_size == 4096);
    CHECK(stack.protection_key == 5);
    CHECK(stack.flags.has(VmFlag::Gd));
    CHECK(stack.flags.has(VmFlag::Sl));
    CHECK_FALSE(stack.flags.has(VmFlag::Lo));
    CHECK(stack.unknown_flags == "zz q1");
    CHECK(vmas->at(1).flags.has(VmFlag::Dp));
    CHECK_FALSE(vmas->at(1).flags.has(VmFlag::Wr));
    CHECK_FALSE(parse_smaps("Rss: 4 kB\n"));
    CHECK_FALSE(parse_smaps("1000-2000 rw-p 00000000 00:00 0 \nRss: 18446744073709551615 kB\n"));
}

TEST_CASE("maps: 50000 lines parse in milliseconds", "[parse][speed]") {
    std::string text;
    for (uint64_t i = 0; i < 50000; ++i)
        text += fmt::format("{:x}-{:x} r{}-p 00000000 00:00 0 \n", 0x7f0000000000 + i * 8192,
                            0x7f0000000000 + i * 8192 + 4096, i % 2 ? 'w' : '-');
    auto start = std::chrono::steady_clock::now();
    auto vmas = parse_maps(text);
    auto took = std::chrono::steady_clock::now() - start;
    REQUIRE(vmas);
    CHECK(vmas->size() == 50000);
    // Measured 4 ms in a release build; the bound only catches a return to something quadratic.
    CHECK(std::chrono::duration_cast<std::chrono::milliseconds>(took).count() < 1000);
}
