#include "criu/parse/elf.hh"
#include "criu/parse/igmp.hh"
#include "criu/parse/one_line_files.hh"
#include "criu/parse/raw_sockets.hh"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <fstream>
#include <sstream>
#include <sys/auxv.h>

using namespace parse;

TEST_CASE("small files of one line", "[parse]") {
    CHECK(parse_timens_offsets("monotonic           -3         5\nboottime            7         0\n") ==
          TimensOffsets{-3, 5, 7, 0});
    CHECK_FALSE(parse_timens_offsets("sundial 1 2\n"));
    CHECK(parse_id_map("         0     100000       1000\n      1000          0          1\n") ==
          std::vector<base::IdExtent>{{0, 100000, 1000}, {1000, 0, 1}});
    CHECK_FALSE(parse_id_map("0 100000\n"));
    CHECK_FALSE(parse_id_map("0 100000 4294967296\n"));
    CHECK(parse_autogroup("/autogroup-7 nice -3\n") == Autogroup{7, -3});
    CHECK_FALSE(parse_autogroup("/autogroup-7\n"));
    CHECK(parse_number("-1000\n") == -1000);
    CHECK_FALSE(parse_number("99999999999999999999\n"));
    CHECK_FALSE(parse_number("1 2\n"));
    CHECK(parse_hex_number("00000033\n") == 0x33u);
    CHECK(parse_pid_list("12 13 14 ") == std::vector<int32_t>{12, 13, 14});
    CHECK(parse_pid_list("")->empty());
    CHECK_FALSE(parse_pid_list("12 x"));
}

TEST_CASE("multicast groups of interfaces", "[parse]") {
    auto v4 = parse_igmp("Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n"
                         "1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n"
                         "4\teth0      :     1      V3\n\t\t\t\t030201EF     2 0:00000000\t\t0\n");
    REQUIRE(v4);
    REQUIRE(v4->size() == 2);
    CHECK(v4->at(1) == MulticastGroup{4, {239, 1, 2, 3}, 2});
    CHECK_FALSE(parse_igmp("x\n"));
    CHECK_FALSE(parse_igmp("1\tlo\n\tG\n"));
    auto v6 = parse_igmp6("2    ifb0            ff020000000000000000000000000001     1 0000000C 0\n");
    REQUIRE(v6);
    CHECK(v6->at(0) == MulticastGroup{2, {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 1});
    CHECK_FALSE(parse_igmp6("2    ifb0            ff02     1 0000000C 0\n"));
}

TEST_CASE("raw sockets and their peers", "[parse]") {
    auto sockets = parse_raw_sockets(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer\n"
        "   1: 0100007F:0001 0200007F:0035 01 00000000:00000000 00:00000000 00000000     0        0 77 2 0000 0\n");
    REQUIRE(sockets);
    CHECK(sockets->at(0) == RawSocket{77, 1, {127, 0, 0, 2}, 0x35});
    CHECK_FALSE(parse_raw_sockets("head\n1: 0100007F:0001 nonsense 01\n"));
}

TEST_CASE("syscall: running, blocked, in the kernel without a call", "[parse]") {
    auto call =
        parse_syscall("0 0x3 0x7fb2ad2bd000 0x20000 0x7fb2ad34eb60 0xffffffff 0x0 0x7ffd41f058e8 0x7fb2ad4372ad\n");
    REQUIRE(call);
    CHECK(call->nr == 0);
    CHECK(call->args[2] == 0x20000);
    CHECK(call->pc == 0x7fb2ad4372ad);
    CHECK(parse_syscall("running\n")->running);
    CHECK(parse_syscall("-1 0x7ffd41f058e8 0x7fb2ad4372ad\n")->sp == 0x7ffd41f058e8);
    CHECK_FALSE(parse_syscall("0 0x3\n"));
}

TEST_CASE("auxv ends with its null pair", "[parse]") {
    uint64_t words[] = {33, 0x7000, 0, 0, 5, 5};
    std::string bytes(sizeof words, '\0');
    std::memcpy(bytes.data(), words, sizeof words);
    CHECK(parse_auxv(bytes) == std::vector<uint64_t>{33, 0x7000, 0, 0});
    CHECK_FALSE(parse_auxv(std::string_view(bytes).substr(0, 20)));
}

TEST_CASE("elf: the vdso of this process", "[parse]") {
    auto base = getauxval(AT_SYSINFO_EHDR);
    if (base == 0) {
        WARN("skipped: this kernel maps no vdso");
        return;
    }
    std::string_view image(reinterpret_cast<const char *>(base), 2 * 4096);
    auto elf = parse_elf_image(image);
    REQUIRE(elf);
    bool found = false;
    for (const auto &symbol : elf->symbols) {
        CHECK(symbol.offset < image.size());
        found = found || symbol.name == "__vdso_clock_gettime";
    }
    CHECK(found);
    CHECK(elf->content_end <= image.size());
    CHECK(elf->content_end > elf->dynamic_offset);
    CHECK_FALSE(parse_build_id(image).empty());
}

TEST_CASE("elf: damaged images are refused, never read past their end", "[parse]") {
    std::ifstream file("/proc/self/exe", std::ios::binary);
    std::string bytes(65536, '\0');
    file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    bytes.resize(static_cast<size_t>(file.gcount()));
    CHECK(parse_build_id(bytes).size() == 20);
    for (size_t n = 0; n < 512; ++n)
        CHECK(parse_build_id(std::string(bytes, 0, n)).size() <= 20);
    const auto segments = parse_load_segments(bytes);
    CHECK(std::ranges::count_if(segments, &ElfSegment::executable) == 1);
    for (size_t n = 0; n < 512; ++n)
        CHECK(parse_load_segments(std::string(bytes, 0, n)).size() <= segments.size());
    CHECK_FALSE(parse_elf_image("\177ELF"));
    CHECK_FALSE(parse_elf_image(""));
    CHECK(parse_build_id("no elf").empty());
}
