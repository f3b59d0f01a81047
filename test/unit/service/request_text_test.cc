#include "criu/service/option_fields.hh"
#include "criu/service/request_text.hh"

#include <catch2/catch.hpp>
#include <set>

using namespace service;

TEST_CASE("a request is what parses and has a known type", "[service]") {
    img::criu_req request;
    request.set_type(img::VERSION);
    CHECK(parse_request(request.SerializeAsString()));
    CHECK(parse_request(request.SerializeAsString() + "\xf8\x3f\x01")); // a field of the future
    CHECK_FALSE(parse_request(""));
    CHECK_FALSE(parse_request("\x08\x63")); // a type of the future
    CHECK_FALSE(parse_request("\x08"));
}

TEST_CASE("messages fit into an answer, as UTF-8", "[service]") {
    CHECK(to_message(base::Error(base::ErrorKind::Usage, "a").ctx("b").hint("c")) == "b: a\nc");
    CHECK(to_message(base::Error(base::ErrorKind::Usage, "\xc3\xa4\xff\xc3")) == "\xc3\xa4??");
    const std::string long_text(100000, 'x');
    CHECK(to_message(base::Error(base::ErrorKind::Usage, long_text).hint(long_text)).size() < kLargestAnswer);
}

TEST_CASE("every field of criu_opts has one row", "[service]") {
    std::set<std::string_view> rows;
    for (const Field &field : option_fields()) {
        CHECK(rows.insert(field.name).second);
        CHECK(img::criu_opts::descriptor()->FindFieldByName(std::string(field.name)));
    }
    CHECK(rows.size() == static_cast<size_t>(img::criu_opts::descriptor()->field_count()));
}

TEST_CASE("a field means its option, and is refused by its name", "[service]") {
    img::criu_opts from;
    from.set_images_dir_fd(-1);
    from.set_tcp_established(true);
    from.set_ghost_limit(77);
    from.add_external("unix[4]");
    from.set_lazy_pages(false); // asks for nothing
    cli::Options to;
    REQUIRE(apply_fields(from, to));
    CHECK(to.tcp_established);
    CHECK(to.ghost_limit == 77);
    REQUIRE(to.external.size() == 1);
    CHECK(to.external[0].key == "4");
    from.set_lsm_profile("a:b");
    auto refused = apply_fields(from, to);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message().starts_with("lsm_profile is not supported yet"));
}
