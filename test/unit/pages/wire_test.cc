#include "criu/pages/wire.hh"

#include <catch2/catch.hpp>
#include <cstring>

using namespace pages::wire;

namespace {

std::vector<std::byte> bytes(std::string_view hex) {
    std::vector<std::byte> out;
    auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
    for (size_t i = 0; i < hex.size(); i++) {
        if (hex[i] == ' ')
            continue;
        out.push_back(static_cast<std::byte>(digit(hex[i]) << 4 | digit(hex[i + 1])));
        i++;
    }
    return out;
}

Form form(std::string_view hex) {
    const auto raw = bytes(hex);
    return form_of(std::span(raw).first<kSmallest>());
}

} // namespace

TEST_CASE("page server: messages as CRIU 4.2 sends them") {
    const auto open = bytes("04000000 00000000 0000000000000000 0000000000000000 0270530000000000");
    const Message message = decode(open, Form::Wide);
    CHECK(message == make(Command::Open2, 0, 0, 0, 0x537002));
    CHECK(unpack(message.object).value() == Object{ObjectType::SharedMemory, 21360});
    CHECK(encode(message, Form::Wide).value() == open);

    const auto add = bytes("06000600 00000000 0200000000000000 0000001000000000 01a6220300000000");
    const Message run = decode(add, Form::Wide);
    CHECK(run.is(Command::AddFlagged));
    CHECK(run.flags == (kLazy | kPresent));
    CHECK(payload_pages(run).value() == 2);
    CHECK(unpack(run.object).value() == Object{ObjectType::Task, 205478});
    CHECK(encode(run, Form::Wide).value() == add);
}

TEST_CASE("page server: 24 byte messages of CRIU up to 4.1") {
    const Message run = make(Command::AddFlagged, kPresent, 3, 0x7f0000001000, pack({ObjectType::Task, 9}));
    const auto narrow = encode(run, Form::Narrow).value();
    CHECK(narrow == bytes("06000400 03000000 00100000007f0000 0109000000000000"));
    CHECK(decode(narrow, Form::Narrow) == run);
    CHECK_FALSE(encode(make(Command::AddFlagged, kPresent, 1ull << 32, 0, 0), Form::Narrow));
}

TEST_CASE("page server: the first message tells the form") {
    CHECK(form("04000000 00000000 0000000000000000 0000000000000000") == Form::Wide);
    CHECK(form("04000000 00000000 0000000000000000 01a6220300000000") == Form::Narrow);
    CHECK(form("05000000 00000000 0000000000000000 01a6220300000000") == Form::Narrow);
    CHECK(form("06000400 00000000 0100000000000000 0010000000000000") == Form::Wide);
    CHECK(form("06000400 01000000 0010000000000000 0270530000000000") == Form::Narrow);
    CHECK(form("07000000 00000000 0100000000000000 0010000000000000") == Form::Wide);
    CHECK(form("23100000 00000000 0000000000000000 0000000000000000") == Form::Wide);
}

TEST_CASE("page server: what no peer says is refused") {
    CHECK_FALSE(unpack(7 << 8 | 5));
    CHECK_FALSE(unpack(0x01));                 // pid 0
    CHECK_FALSE(unpack(1ull << 40 | 1));       // no pid
    CHECK(unpack(1ull << 55 | 2).has_value()); // shared memory may have large ids
    CHECK_FALSE(payload_pages(make(Command::AddFlagged, 0, 1, 0x1000, 0)));
    CHECK_FALSE(payload_pages(make(Command::AddFlagged, kParent | kPresent, 1, 0x1000, 0)));
    CHECK_FALSE(payload_pages(make(Command::AddFlagged, 8 | kPresent, 1, 0x1000, 0)));
    CHECK_FALSE(payload_pages(make(Command::AddFlagged, kPresent, 0, 0x1000, 0)));
    CHECK_FALSE(payload_pages(make(Command::Add, 0, 1, 0x1001, 0)));
    CHECK_FALSE(payload_pages(make(Command::Get, 0, 1ull << 52, 0x1000, 0)));
    CHECK(payload_pages(make(Command::AddFlagged, kParent, 4, 0x1000, 0)).value() == 0);
    CHECK(payload_pages(make(Command::AddFlagged, kLazy, 4, 0x1000, 0)).value() == 0);
    CHECK(payload_pages(make(Command::Close)).value() == 0);
}
