#include "base/printable.hh"

#include <catch2/catch.hpp>

TEST_CASE("text of strangers can neither add a line nor steer a terminal", "[cli]") {
    CHECK(base::printable("/a b/\xc3\xa9") == "/a b/\xc3\xa9");
    CHECK(base::printable("one\nError: two\x1b[31m\x7f") == "one\\nError: two\\x1b[31m\\x7f");
    CHECK(base::printable(std::string_view("a\0b", 3)) == "a\\x00b");
}

TEST_CASE("what is very long is shown by its ends", "[cli]") {
    const std::string text = base::printable("head" + std::string(100'000, 'x') + "tail", 100);
    CHECK(text.starts_with("head"));
    CHECK(text.ends_with("tail"));
    CHECK(text.size() < 120);
}
