// Chains of directories, written byte for byte as CRIU writes them (Documentation/image-format.md).
#include "../image/support.hh"

#include "criu/pages/source.hh"

#include <fmt/format.h>

namespace {

constexpr uint64_t kPage = 4096;

void put(std::string &out, uint64_t number) {
    for (; number >= 0x80; number >>= 7)
        out += static_cast<char>(number | 0x80);
    out += static_cast<char>(number);
}

std::string message(const std::string &body) {
    const auto size = static_cast<uint32_t>(body.size());
    return std::string(reinterpret_cast<const char *>(&size), 4) + body;
}

/// As CRIU 4.2 writes it: address, a zero in the field of old, flags, count.
std::string entry(uint64_t page, uint64_t count, uint32_t flags) {
    std::string body("\x08");
    put(body, page * kPage);
    body += std::string("\x10\x00\x20", 3);
    put(body, flags);
    body += '\x28';
    put(body, count);
    return message(body);
}

/// As CRIU 1.3 to 4.0 did: no flags, `in_parent` instead.
std::string old_entry(uint64_t page, uint64_t count, bool in_parent) {
    std::string body("\x08");
    put(body, page * kPage);
    body += '\x10';
    put(body, count);
    if (in_parent)
        body += "\x18\x01";
    return message(body);
}

/// A directory of the chain: its pages hold one letter each.
void write_level(const std::filesystem::path &dir, const std::string &entries, const std::string &letters) {
    std::filesystem::create_directories(dir);
    std::string head = test::slurp(test::golden() / "sampler" / "pagemap-883.img").substr(0, 8);
    std::string id("\x08\x05");
    test::spill(dir / "pagemap-7.img", head + message(id) + entries);
    std::string pages;
    for (char letter : letters)
        pages += std::string(kPage, letter);
    test::spill(dir / "pages-5.img", pages);
}

void link(const std::filesystem::path &from, const char *to) {
    std::filesystem::create_symlink(to, from / "parent");
}

struct Opened {
    pages::Chain chain;
    pages::PageIndex index;
};

base::Result<Opened> open_chain(const std::filesystem::path &newest) {
    const base::UniqueFd fd = test::open_dir(newest);
    auto chain = TRY(pages::Chain::open(fd.get()));
    auto index = TRY(pages::index_pages(chain, image::ImageKind::Pagemap, 7));
    return Opened{std::move(chain), std::move(index)};
}

std::string error_of(const std::filesystem::path &newest) {
    auto opened = open_chain(newest);
    return opened ? std::string() : opened.error().message();
}

/// The letter of each page from `first` on.
std::string letters(const Opened &opened, uint64_t first, size_t count) {
    auto source = pages::PageSource::open(opened.chain, opened.index);
    REQUIRE(source);
    std::string bytes(count * kPage, '\0');
    REQUIRE(source->read(opened.index, first * kPage, std::as_writable_bytes(std::span(bytes))));
    std::string out;
    for (size_t i = 0; i < count; i++)
        out += bytes[i * kPage];
    return out;
}

TEST_CASE("pages of a chain are found where they were saved last", "[pages]") {
    test::TempDir dir;
    write_level(dir.path() / "1", entry(0x100, 5, 4), "abcde");
    write_level(dir.path() / "2", entry(0x100, 1, 1) + entry(0x101, 2, 6) + entry(0x103, 2, 1), "BC");
    write_level(dir.path() / "3", entry(0x100, 4, 1) + entry(0x104, 1, 4) + entry(0x200, 1, 4), "Ez");
    link(dir.path() / "2", "../1");
    link(dir.path() / "3", "../2");
    auto opened = open_chain(dir.path() / "3");
    REQUIRE(opened);
    CHECK(opened->chain.depth() == 3);
    CHECK(letters(*opened, 0x100, 5) == "aBCdE");
    CHECK(letters(*opened, 0x200, 1) == "z");
    CHECK(opened->index.runs[1] == pages::Run{0x101 * kPage, 0x103 * kPage, 0, 1, true});
    CHECK(opened->index.first_behind(0x103 * kPage)->start == 0x103 * kPage);
}

TEST_CASE("runs that go on in memory and file are one", "[pages]") {
    test::TempDir dir;
    write_level(dir.path() / "1", entry(0x100, 2, 4) + entry(0x102, 0, 4) + entry(0x102, 1, 4) + entry(0x103, 1, 6),
                "abcd");
    auto opened = open_chain(dir.path() / "1");
    REQUIRE(opened);
    CHECK(opened->index.runs ==
          std::vector<pages::Run>{{0x100000, 0x103000, 0, 0, false}, {0x103000, 0x104000, 0x3000, 0, true}});
}

TEST_CASE("chains of old, without flags, are read", "[pages]") {
    test::TempDir dir;
    write_level(dir.path() / "1", old_entry(0x100, 2, false), "ab");
    write_level(dir.path() / "2", old_entry(0x100, 1, true) + old_entry(0x101, 1, false), "B");
    link(dir.path() / "2", "../1");
    auto opened = open_chain(dir.path() / "2");
    REQUIRE(opened);
    CHECK(letters(*opened, 0x100, 2) == "aB");
}

TEST_CASE("what a chain lacks is an error that names the directory", "[pages]") {
    test::TempDir dir;
    write_level(dir.path() / "1", entry(0x100, 1, 4), "a");
    write_level(dir.path() / "2", entry(0x100, 2, 1), "");
    CHECK(error_of(dir.path() / "2") == "pagemap-7.img refers to pages of a parent directory, and there is none");
    link(dir.path() / "2", "../1");
    CHECK(error_of(dir.path() / "2") ==
          "parent/pagemap-7.img has no entry for the page at 0x101000, which pagemap-7.img refers to");
    std::filesystem::remove(dir.path() / "1" / "pagemap-7.img");
    CHECK(error_of(dir.path() / "2") ==
          "parent/pagemap-7.img has no entry for the page at 0x100000, which pagemap-7.img refers to");
    std::filesystem::remove_all(dir.path() / "1");
    CHECK_THAT(error_of(dir.path() / "2"), Catch::Contains("the directory that the images build on"));
}

TEST_CASE("pages files that are too short are noticed at every level", "[pages]") {
    test::TempDir dir;
    write_level(dir.path() / "1", entry(0x100, 2, 4), "a");
    write_level(dir.path() / "2", entry(0x100, 2, 1), "");
    link(dir.path() / "2", "../1");
    CHECK_THAT(error_of(dir.path() / "1"), Catch::Contains("truncated"));
    CHECK_THAT(error_of(dir.path() / "2"), Catch::Contains("parent/") && Catch::Contains("truncated"));
}

TEST_CASE("flags that mean nothing are refused", "[pages]") {
    test::TempDir dir;
    for (uint32_t flags : {0u, 5u, 7u, 8u, 0x80000004u}) {
        write_level(dir.path() / "1", entry(0x100, 1, flags), "a");
        CHECK_THAT(error_of(dir.path() / "1"), Catch::Contains(fmt::format("flags {:#x}", flags)));
    }
    write_level(dir.path() / "1", entry(0x100, 1, 2), ""); // left with a page server: whoever restores asks there
    CHECK(error_of(dir.path() / "1").empty());
}

TEST_CASE("a chain that comes back to itself or never ends is refused", "[pages]") {
    test::TempDir dir;
    write_level(dir.path() / "1", entry(0x100, 1, 1), "");
    write_level(dir.path() / "2", entry(0x100, 1, 1), "");
    link(dir.path() / "1", "../2");
    link(dir.path() / "2", "../1");
    CHECK(error_of(dir.path() / "1") == "parent/parent/. is a directory that builds on itself");
    for (size_t i = 3; i < 3 + pages::Chain::kMostLevels + 1; i++) {
        std::filesystem::create_directories(dir.path() / std::to_string(i));
        link(dir.path() / std::to_string(i), ("../" + std::to_string(i + 1)).c_str());
    }
    std::filesystem::create_directories(dir.path() / std::to_string(3 + pages::Chain::kMostLevels + 1));
    CHECK(error_of(dir.path() / "3") == "the images build on more than 255 others");
}

TEST_CASE("images that CRIU 4.2 has written serve as parents", "[pages]") {
    const auto sampler = test::golden() / "sampler";
    const base::UniqueFd golden_fd = test::open_dir(sampler);
    auto golden = test::must(pages::Chain::open(golden_fd.get()));
    auto alone = test::must(pages::index_pages(golden, image::ImageKind::Pagemap, 883));
    test::TempDir dir;
    std::string entries;
    for (const pages::Run &run : alone.runs)
        entries += entry(run.start / kPage, (run.end - run.start) / kPage, 1);
    write_level(dir.path() / "1", entries, "");
    std::filesystem::rename(dir.path() / "1" / "pagemap-7.img", dir.path() / "1" / "pagemap-883.img");
    link(dir.path() / "1", sampler.c_str());
    const base::UniqueFd fd = test::open_dir(dir.path() / "1");
    auto chain = test::must(pages::Chain::open(fd.get()));
    auto index = test::must(pages::index_pages(chain, image::ImageKind::Pagemap, 883));
    REQUIRE(index.runs.size() == alone.runs.size());
    for (size_t i = 0; i < index.runs.size(); i++) {
        pages::Run there = alone.runs[i];
        there.level = 1;
        CHECK(index.runs[i] == there);
    }
}

} // namespace
