#include <catch2/catch.hpp>

#include "criu/kernel/netlink.hh"
#include "criu/resource/socket/unix/unix_socket.hh"

namespace {

std::string attribute(uint16_t type, const std::string &value) {
    const nlattr head{static_cast<uint16_t>(sizeof(nlattr) + value.size()), type};
    std::string out(reinterpret_cast<const char *>(&head), sizeof head);
    out += value;
    out.resize((out.size() + 3) & ~size_t{3});
    return out;
}

} // namespace

TEST_CASE("netlink: attributes one after the other, and broken ones") {
    const std::string bytes = attribute(1, "abc") + attribute(2, "") + attribute(3, "12345678");
    std::vector<std::pair<int, std::string>> seen;
    auto visit = [&](int type, std::string_view value) { seen.emplace_back(type, value); };
    REQUIRE(kernel::for_each_attribute(bytes, visit));
    REQUIRE(seen == std::vector<std::pair<int, std::string>>{{1, "abc"}, {2, ""}, {3, "12345678"}});
    for (size_t cut : {5u, 7u, 19u, 20u})
        CHECK_FALSE(kernel::for_each_attribute(std::string_view(bytes).substr(0, bytes.size() - cut), visit));
    CHECK_FALSE(kernel::for_each_attribute(std::string("\1\0\0\0", 4), visit)); // shorter than its head
}

TEST_CASE("unix sockets: addresses from names") {
    using namespace std::string_literals;
    auto path = resource::unix_address("/a/b\0"s);
    REQUIRE(path);
    CHECK(path->length == offsetof(sockaddr_un, sun_path) + 5);
    CHECK(resource::unix_name(*path) == "/a/b\0"s);
    auto abstract = resource::unix_address("\0a\0b"s);
    REQUIRE(abstract);
    CHECK(resource::unix_name(*abstract) == "\0a\0b"s);
    // The longest path leaves no room for its final zero.
    const std::string longest(108, 'x');
    auto full = resource::unix_address(longest + '\0');
    REQUIRE(full);
    CHECK(full->length == sizeof(sockaddr_un));
    CHECK_FALSE(resource::unix_address(longest + "y"));
    CHECK_FALSE(resource::unix_address(""));
    CHECK(resource::show_unix_name("\0ab\1"s) == "@ab?");
}
