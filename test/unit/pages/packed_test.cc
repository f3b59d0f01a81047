// Compressed pagemaps: images made byte by byte from their description (reference: the form of criu-dev and the one
// before it), and what our writer makes.
#include "../image/support.hh"

#include "criu/image/image_writer.hh"
#include "criu/pages/codec.hh"
#include "criu/pages/compressing_sink.hh"
#include "criu/pages/source.hh"

#include <fmt/format.h>
#include <random>

namespace {

constexpr uint64_t kPage = 4096;

std::string number(uint64_t value) {
    std::string out;
    for (; value >= 0x80; value >>= 7)
        out += static_cast<char>(value | 0x80);
    return out + static_cast<char>(value);
}
std::string field(int tag, uint64_t value) {
    return number(static_cast<uint64_t>(tag) << 3) + number(value);
}
std::string field(int tag, const std::string &bytes) {
    return number(static_cast<uint64_t>(tag) << 3 | 2) + number(bytes.size()) + bytes;
}
std::string message(const std::string &body) {
    const auto size = static_cast<uint32_t>(body.size());
    return std::string(reinterpret_cast<const char *>(&size), 4) + body;
}

std::string run(uint64_t page, uint64_t count, uint32_t flags, const std::string &more = {}) {
    return message(field(1, page * kPage) + field(2, uint64_t{0}) + field(4, flags) + field(5, count) + more);
}

/// Field 6 as it is now: sizes packed, their sum, pages of a block.
std::string blocks(const std::vector<uint64_t> &sizes, uint64_t total, uint64_t pages) {
    std::string packed;
    for (uint64_t size : sizes)
        packed += number(size);
    return field(6, field(1, packed) + field(2, total) + field(3, pages));
}

/// As it was before: sizes one by one, their sum, pages of a block.
std::string old_blocks(const std::vector<uint64_t> &sizes, uint64_t total, uint64_t pages) {
    std::string out;
    for (uint64_t size : sizes)
        out += field(6, size);
    return out + field(7, total) + (pages == 1 ? "" : field(8, pages));
}

/// A raw block of LZ4 that stands for so many times the letter: a literal, a match of it at distance 1, and the last
/// five bytes, which are literals again.
std::string lz4(char letter, size_t count) {
    std::string out{'\x1f', letter, '\x01', '\x00'};
    size_t rest = count - 6 - 4 - 15;
    for (; rest >= 255; rest -= 255)
        out += '\xff';
    out += static_cast<char>(rest);
    return out + '\x50' + std::string(5, letter);
}

std::string filled(char letter, size_t count = 1) {
    return std::string(count * kPage, letter);
}

void write_images(const std::filesystem::path &dir, const std::string &entries, const std::string &contents) {
    std::filesystem::create_directories(dir);
    const std::string head = test::slurp(test::golden() / "sampler" / "pagemap-883.img").substr(0, 8);
    test::spill(dir / "pagemap-7.img", head + message(field(1, 5)) + entries);
    test::spill(dir / "pages-5.img", contents);
}

base::Result<pages::OpenMemory> open_memory(const std::filesystem::path &dir) {
    const base::UniqueFd fd = test::open_dir(dir);
    const auto chain = TRY(pages::Chain::open(fd.get()));
    return pages::OpenMemory::open(chain, image::ImageKind::Pagemap, 7);
}

std::string read(const pages::OpenMemory &memory, uint64_t address, size_t size) {
    std::string bytes(size, '?');
    const auto done = memory.read(address, std::as_writable_bytes(std::span(bytes)));
    return done ? bytes : done.error().message();
}

std::string error_of(const std::string &entries, const std::string &contents) {
    test::TempDir dir;
    write_images(dir.path(), entries, contents);
    auto memory = open_memory(dir.path());
    return memory ? std::string() : memory.error().message();
}

} // namespace

TEST_CASE("compressed pages: blocks of a page, of several, zeroes, and as they are", "[pages]") {
    test::TempDir dir;
    const std::string a = lz4('a', kPage), b = lz4('b', 2 * kPage), c = lz4('c', kPage);
    // Three blocks of a page; three of two pages, the last of which is shorter; one that is stored as it is.
    write_images(dir.path(),
                 run(0x100, 3, 4, blocks({a.size(), 0, kPage}, a.size() + kPage, 1)) +
                     run(0x103, 5, 6, blocks({b.size(), 0, c.size()}, b.size() + c.size(), 2)) + run(0x200, 1, 4),
                 a + filled('r') + b + c + filled('p'));
    const auto memory = open_memory(dir.path());
    REQUIRE(memory);
    CHECK(read(*memory, 0x100000, 3 * kPage) == filled('a') + filled('\0') + filled('r'));
    CHECK(read(*memory, 0x103000, 5 * kPage) == filled('b', 2) + filled('\0', 2) + filled('c'));
    CHECK(read(*memory, 0x102000, 2 * kPage) == filled('r') + filled('b'));
    CHECK(read(*memory, 0x104010, 100) == std::string(100, 'b'));
    CHECK(read(*memory, 0x200000, kPage) == filled('p'));
    CHECK(memory->index.runs.size() == 3);
    CHECK(memory->index.runs[1].lazy);
}

TEST_CASE("compressed pages: what is aligned begins at a page of the file", "[pages]") {
    test::TempDir dir;
    const std::string a = lz4('a', kPage);
    const std::string gap(kPage - a.size(), '\0');
    write_images(dir.path(),
                 run(0x100, 1, 4, blocks({a.size()}, a.size(), 1)) + run(0x101, 1, 12) +
                     run(0x102, 2, 12, blocks({kPage, a.size()}, kPage + a.size(), 1)),
                 a + gap + filled('x') + filled('y') + a);
    const auto memory = open_memory(dir.path());
    REQUIRE(memory);
    CHECK(read(*memory, 0x100000, 4 * kPage) == filled('a') + filled('x') + filled('y') + filled('a'));
}

TEST_CASE("compressed pages: the form before", "[pages]") {
    test::TempDir dir;
    const std::string a = lz4('a', kPage), b = lz4('b', 2 * kPage);
    write_images(dir.path(),
                 run(0x100, 2, 4, old_blocks({a.size(), 0}, a.size(), 1)) +
                     run(0x200, 3, 4, old_blocks({b.size(), kPage}, b.size() + kPage, 2)),
                 a + b + filled('r'));
    const auto memory = open_memory(dir.path());
    REQUIRE(memory);
    CHECK(read(*memory, 0x100000, 2 * kPage) == filled('a') + filled('\0'));
    CHECK(read(*memory, 0x200000, 3 * kPage) == filled('b', 2) + filled('r'));
}

TEST_CASE("compressed pages: in a chain, and cut by what is newer", "[pages]") {
    test::TempDir dir;
    const std::string a = lz4('a', 4 * kPage);
    write_images(dir.path() / "1", run(0x100, 4, 4, blocks({a.size()}, a.size(), 4)), a);
    write_images(dir.path() / "2", run(0x100, 1, 1) + run(0x101, 1, 4) + run(0x102, 2, 1), filled('N'));
    std::filesystem::create_symlink("../1", dir.path() / "2" / "parent");
    const auto memory = open_memory(dir.path() / "2");
    REQUIRE(memory);
    CHECK(read(*memory, 0x100000, 4 * kPage) == filled('a') + filled('N') + filled('a', 2));
    CHECK(memory->index.packed.size() == 1);
}

TEST_CASE("compressed pages: contradictions are refused", "[pages]") {
    const std::string a = lz4('a', kPage);
    const auto with = [&](const std::string &more, uint32_t flags = 4, uint64_t count = 1) {
        return error_of(run(0x100, count, flags, more), a);
    };
    using Catch::Matchers::Contains;
    CHECK(with(blocks({a.size()}, a.size(), 1)).empty());
    CHECK_THAT(with(blocks({a.size()}, a.size() + 1, 1)), Contains("not what they are in all"));
    CHECK_THAT(with(blocks({a.size(), 0}, a.size(), 1)), Contains("not as many blocks"));
    CHECK_THAT(with(blocks({}, 0, 1)), Contains("not as many blocks"));
    CHECK_THAT(with(blocks({a.size()}, a.size(), 1), 4, 2), Contains("not as many blocks"));
    CHECK_THAT(with(blocks({kPage + 1}, kPage + 1, 1)), Contains("larger than what is in it"));
    CHECK_THAT(with(blocks({kPage + 1}, kPage + 1, 4)), Contains("larger than what is in it"));
    CHECK_THAT(with(blocks({a.size()}, a.size(), 0)), Contains("impossible size"));
    CHECK_THAT(with(blocks({a.size()}, a.size(), 1025)), Contains("impossible size"));
    CHECK_THAT(with(blocks({a.size()}, a.size(), 1), 1), Contains("not here"));
    CHECK_THAT(with(blocks({a.size()}, a.size(), 1), 2), Contains("not here"));
    CHECK_THAT(with(blocks({a.size()}, a.size(), 1), 8), Contains("not here"));
    CHECK_THAT(with(old_blocks({a.size()}, a.size() + 1, 1)), Contains("not what they are in all"));
    CHECK_THAT(with({}, 8), Contains("flags 0x8"));
    CHECK_THAT(error_of(run(0x100, 1, 4, blocks({a.size()}, a.size(), 1)), a + "x"), Contains("describes"));
    CHECK_THAT(error_of(run(0x100, 1, 4, blocks({a.size()}, a.size(), 1)), a.substr(1)), Contains("truncated"));
    CHECK_THAT(
        error_of(message(field(1, 0x100000) + field(2, 0) + field(4, 4) + field(5, 1) + field(6, field(2, 0))), a),
        Contains("lacks the required"));
}

TEST_CASE("compressed pages: a damaged block is found", "[pages]") {
    test::TempDir dir;
    std::string a = lz4('a', kPage);
    a[1 + 1] = '\x09'; // a distance that leads before the beginning
    write_images(dir.path(), run(0x100, 1, 4, blocks({a.size()}, a.size(), 1)), a);
    const auto memory = open_memory(dir.path());
    REQUIRE(memory);
    CHECK_THAT(read(*memory, 0x100000, kPage), Catch::Matchers::Contains("damaged"));
}

TEST_CASE("compressed pages: random bytes in place of a block do no harm", "[pages]") {
    std::mt19937 random(1);
    for (const image::Codec codec : {image::Codec::Lz4, image::Codec::Zstd})
        for (int i = 0; i < 2000; i++) {
            std::vector<std::byte> block(random() % 300 + 1), to(kPage);
            for (std::byte &b : block)
                b = static_cast<std::byte>(random());
            (void)pages::unpack(codec, block, to);
        }
}

namespace {

/// Contents of which some pages are zero, some random, and some compress.
std::string contents(size_t count) {
    std::mt19937_64 random(count);
    std::string out;
    for (size_t i = 0; i < count; i++)
        switch (i / 20 % 3) {
        case 0:
            out += filled('\0');
            break;
        case 1:
            for (size_t k = 0; k < kPage; k += 8) {
                const uint64_t word = random();
                out.append(reinterpret_cast<const char *>(&word), 8);
            }
            break;
        default:
            for (size_t k = 0; k < kPage; k += 16)
                out += fmt::format("page {:10x}\n", i * 7 + k % 64);
        }
    return out;
}

void put(pages::MemoryOutput &output, uint64_t page, const std::string &bytes, uint32_t flags = 4,
         pages::PageKind kind = pages::PageKind::Small) {
    auto entry = image::present_run(page * kPage, bytes.size() / kPage);
    entry.set_flags(flags);
    test::must(output.add(entry, kind));
    for (size_t at = 0; at < bytes.size(); at += 37 * kPage)
        test::must(output.put(std::as_bytes(std::span(bytes)).subspan(at, std::min(37 * kPage, bytes.size() - at))));
}

} // namespace

TEST_CASE("compressed pages: what is written is read again", "[pages]") {
    const auto codec = GENERATE(image::Codec::Lz4, image::Codec::Zstd);
    const auto when = GENERATE(pages::Compression::When::Always, pages::Compression::When::IfFaster);
    const uint64_t block = GENERATE(1u, 3u, 16u, 1024u) * kPage;
    test::TempDir dir;
    const std::string first = contents(7), second = contents(2500), third = contents(300), huge = contents(512);
    {
        auto images = test::must(image::ImageDirWriter::open(dir.fd()));
        const auto sink = pages::compressing_sink(images, {.when = when, .codec = codec, .block_bytes = block});
        const auto output = test::must(sink->open(image::ImageKind::Pagemap, 7));
        const auto other = test::must(sink->open(image::ImageKind::Pagemap, 8));
        put(*output, 0x10, first, 6);
        auto hole = image::present_run(0x20000, 5);
        hole.set_flags(2);
        test::must(output->add(hole));
        put(*output, 0x1000, second);
        put(*other, 0x1000, third);
        put(*output, 0x8000, third);
        put(*output, 0x9000, huge, 4, pages::PageKind::Huge);
        test::must(output->close());
        test::must(other->close());
        test::must(sink->finish());
        test::must(images.finish());
    }
    const auto memory = test::must(open_memory(dir.path()));
    CHECK(read(memory, 0x10000, first.size()) == first);
    CHECK(read(memory, 0x1000000, second.size()) == second);
    CHECK(read(memory, 0x8000000, third.size()) == third);
    CHECK(read(memory, 0x9000000, huge.size()) == huge);
    CHECK(read(memory, 0x1000000 + 70 * kPage, 100 * kPage) == second.substr(70 * kPage, 100 * kPage));
    CHECK(memory.index.runs[0].lazy);
    CHECK(memory.index.runs[1].remote);
    for (const pages::Run &run : memory.index.runs)
        if (run.start >= 0x9000000)
            CHECK_FALSE(run.is_packed());
    if (when == pages::Compression::When::Always)
        CHECK(std::filesystem::file_size(dir.path() / "pages-1.img") <
              first.size() + second.size() + third.size() + huge.size());
}
