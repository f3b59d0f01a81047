#include "criu/crit/hints.hh"
#include "criu/crit/json_text.hh"
#include "criu/crit/text_codecs.hh"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace crit;

namespace {

std::string all_bytes() {
    std::string bytes;
    for (int i = 0; i < 256; i++)
        bytes += static_cast<char>(i);
    return bytes;
}

} // namespace

TEST_CASE("base64 comes in lines of 76 and is read back", "[crit]") {
    CHECK(base64_encode("") == "");
    CHECK(base64_encode("a") == "YQ==\n");
    CHECK(base64_encode("ab") == "YWI=\n");
    CHECK(base64_encode("abc") == "YWJj\n");
    CHECK(base64_encode(std::string(57, 'x')).size() == 77);
    CHECK(base64_encode(std::string(58, 'x')).size() == 77 + 5);
    for (size_t n = 0; n < 256; n++)
        REQUIRE(base64_decode(base64_encode(all_bytes().substr(0, n))).value() == all_bytes().substr(0, n));
    CHECK(base64_decode(" YW\nI = ").value() == "ab");
    for (const char *bad : {"Y", "YQ", "YQ=", "YQ===", "====", "YQ==YQ==", "Y*==", "=QQQ"}) {
        INFO(bad);
        CHECK_FALSE(base64_decode(bad));
    }
}

TEST_CASE("names of unix sockets are quoted as python does", "[crit]") {
    // Left: bytes; right: codecs.encode(bytes, 'quopri') of python 3.11.
    const std::pair<std::string, std::string> kCases[]{
        {std::string("/tmp/a\0", 7), "/tmp/a=00"},
        {std::string("\0abs=tract", 10), "=00abs=3Dtract"},
        {"trail ", "trail=20"},
        {".", "=2E"},
        {"a\n.\nb", "a\n=2E\nb"},
        {std::string(76, 'x'), std::string(76, 'x')},
        {std::string(77, 'x'), std::string(75, 'x') + "=\nxx"},
        {std::string(75, 'x') + std::string("\0abc", 4), std::string(75, 'x') + "=\n=00abc"},
        {std::string(76, 'x') + "\nabc", std::string(76, 'x') + "\nabc"},
        {"", ""},
    };
    for (const auto &[bytes, text] : kCases) {
        CHECK(quoted_printable_encode(bytes) == text);
        CHECK(quoted_printable_decode(text) == bytes);
    }
    for (const std::string &bytes : {all_bytes(), std::string("a \r\nb\rc\t\n"), std::string("=41")})
        CHECK(quoted_printable_decode(quoted_printable_encode(bytes)) == bytes);
    CHECK(quoted_printable_decode("=") == "=");
    CHECK(quoted_printable_decode("a=zz=4") == "a=zz=4");
}

TEST_CASE("device numbers have two forms", "[crit]") {
    CHECK(device_text(0x12345678, DevForm::Kernel) == "291:284280");
    CHECK(device_text(0x12345678, DevForm::Stat) == "1110:74616");
    for (uint32_t dev : {0u, 1u, 0x801u, 0x12345678u, 0xffffffffu})
        for (DevForm form : {DevForm::Kernel, DevForm::Stat})
            CHECK(parse_device(device_text(dev, form), form).value() == dev);
    for (const char *bad : {"", ":", "1", "1:", ":1", "1:2x", "-1:2", "4096:0", "0:1048576"})
        CHECK_FALSE(parse_device(bad, DevForm::Kernel));
}

TEST_CASE("addresses are written without a dotted tail", "[crit]") {
    using Words = std::vector<uint32_t>;
    CHECK(address_text(Words{0x0100007f}) == "127.0.0.1");
    CHECK(address_text(Words{0, 0, 0xffff0000, 0x0100007f}) == "::ffff:7f00:1");
    CHECK(address_text(Words{0xb80d0120, 0, 0, 0x01000000}) == "2001:db8::1");
    CHECK(address_text(Words{0xb80d0120, 0, 0x01000000, 0}) == "2001:db8::1:0:0");
    CHECK(address_text(Words{0x100, 0, 0, 0}) == "1::");
    CHECK(address_text(Words{0, 0, 0, 0}) == "::");
    CHECK(address_text(Words{1, 2}).empty());
    CHECK(address_text(Words{}).empty());
    CHECK(parse_address("2001:db8::1").value() == Words{0xb80d0120, 0, 0, 0x01000000});
    CHECK(parse_address("10.0.0.1").value() == Words{0x0100000a});
    CHECK_FALSE(parse_address("localhost"));
}

TEST_CASE("flags have names, and what has none stays in hex", "[crit]") {
    auto prot = flag_names("mmap.prot");
    CHECK(flags_text(prot, 0) == "");
    CHECK(flags_text(prot, 5) == "PROT_READ | PROT_EXEC");
    CHECK(flags_text(prot, 0xffffffff) == "PROT_READ | PROT_WRITE | PROT_EXEC | 0xfffffff8");
    for (const char *set : {"mmap.prot", "mmap.flags", "mmap.status", "pmap.flags", "rfile.flags", "seals.flags"})
        for (uint64_t value : {0ull, 1ull, 0x12345ull, 0xffffffffull})
            CHECK(parse_flags(flag_names(set), flags_text(flag_names(set), value)) == value);
    CHECK(parse_flags(prot, "PROT_READ|2") == 3);
    CHECK_FALSE(parse_flags(prot, "PROT_REED"));
    CHECK(flag_names("none").empty());
    CHECK(dict_names("sk", "colour").empty());
    CHECK(name_of(dict_names("sk", "state"), 10) == "LISTEN");
    CHECK(parse_number("0x10") == 16);
    CHECK_FALSE(parse_number(""));
    CHECK_FALSE(parse_number("0x"));
    CHECK_FALSE(parse_number("18446744073709551616"));
}

TEST_CASE("JSON looks as python's", "[crit]") {
    Json json = Json::parse(R"({"b": [1, -2, true, null, []], "a": {}, "s": "\u00e9\ud83d\ude00\u0001\"\\/\n"})");
    CHECK(json_text(json, JsonForm::OneLine) ==
          R"({"b": [1, -2, true, null, []], "a": {}, "s": "\u00e9\ud83d\ude00\u0001\"\\/\n"})");
    CHECK(json_text(Json::parse(R"({"a":[1,{"b":2}]})"), JsonForm::Pretty) ==
          "{\n    \"a\": [\n        1,\n        {\n            \"b\": 2\n        }\n    ]\n}");
    CHECK(json_text("\x7f", JsonForm::OneLine) == "\"\x7f\"");
}

TEST_CASE("UTF-8 is recognised", "[crit]") {
    for (const char *good : {"", "abc", "\xc3\xa9", "\xf0\x9f\x98\x80", "\xef\xbf\xbf"})
        CHECK(is_utf8(good));
    for (const char *bad : {"\xff", "\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x80", "a\xe2\x82"})
        CHECK_FALSE(is_utf8(bad));
}
