// Streams of images: what goes in comes out, and nothing else does.
#include "../image/support.hh"

#include "criu/image/image_writer.hh"
#include "criu/pages/container_stream.hh"
#include "criu/pages/stream_format.hh"
#include "criu/pages/stream_seal.hh"
#include "criu/pages/stream_sink.hh"

#include <cstring>
#include <fcntl.h>
#include <map>
#include <sys/mman.h>
#include <unistd.h>

using test::must;

namespace {

std::span<const std::byte> bytes_of(const std::string &text) {
    return std::as_bytes(std::span(text));
}

/// A file in memory, read from its beginning.
base::UniqueFd file_of(const std::string &content) {
    base::UniqueFd fd(memfd_create("stream", MFD_CLOEXEC));
    REQUIRE(write(fd.get(), content.data(), content.size()) == static_cast<ssize_t>(content.size()));
    lseek(fd.get(), 0, SEEK_SET);
    return fd;
}

std::string content_of(int fd) {
    std::string content(static_cast<size_t>(lseek(fd, 0, SEEK_END)), '\0');
    REQUIRE(pread(fd, content.data(), content.size(), 0) == static_cast<ssize_t>(content.size()));
    return content;
}

/// Three files, two of which take turns; one has a hole and ends with one.
std::string stream_of(std::span<const std::byte> key) {
    const base::UniqueFd fd = file_of("");
    const auto line = pages::stream::fd_line(fd.get());
    auto stream = must(pages::container_stream(*line, key));
    must(stream->write("pages-1.img", 0, bytes_of("first")));
    must(stream->write("core-7.img", 0, bytes_of("core")));
    must(stream->write("pages-1.img", 9000, bytes_of("second")));
    must(stream->end_file("core-7.img", 4));
    must(stream->end_file("pages-1.img", 12288));
    must(stream->end_file("empty.img", 0));
    CHECK(stream->has_file("empty.img"));
    CHECK_FALSE(stream->has_file("inventory.img"));
    must(stream->finish());
    return content_of(fd.get());
}

base::Result<void> unpack(const std::string &content, std::span<const std::byte> key, int directory) {
    const base::UniqueFd fd = file_of(content);
    return pages::unpack_stream(*pages::stream::fd_line(fd.get()), key, directory);
}

void check_files(const test::TempDir &dir) {
    CHECK(test::list(dir.path()) == std::vector<std::string>{"core-7.img", "empty.img", "pages-1.img"});
    CHECK(test::slurp(dir.path() / "core-7.img") == "core");
    CHECK(test::slurp(dir.path() / "empty.img").empty());
    std::string pages(12288, '\0');
    std::memcpy(pages.data(), "first", 5);
    std::memcpy(pages.data() + 9000, "second", 6);
    CHECK(test::slurp(dir.path() / "pages-1.img") == pages);
}

/// What goes into a stream, by file.
class Collected final : public pages::ImageStream {
public:
    base::Result<void> write(const std::string &name, uint64_t offset, std::span<const std::byte> bytes) override {
        std::string &file = files[name];
        REQUIRE(offset >= file.size());
        file.resize(offset);
        file.append(reinterpret_cast<const char *>(bytes.data()), bytes.size());
        return {};
    }
    base::Result<void> end_file(const std::string &name, uint64_t size) override {
        files[name].resize(size);
        return {};
    }
    bool has_file(const std::string &name) const override { return files.contains(name); }
    base::Result<void> finish() override { return {}; }

    std::map<std::string, std::string> files;
};

const std::vector<std::byte> kKey(32, std::byte{7}), kOther(32, std::byte{8});

} // namespace

TEST_CASE("a stream of images holds files as they were, sealed or not", "[pages][stream]") {
    for (const auto &key : {std::vector<std::byte>(), kKey}) {
        test::TempDir dir;
        must(unpack(stream_of(key), key, dir.fd()));
        check_files(dir);
    }
}

TEST_CASE("a sealed stream differs each time, and says nothing", "[pages][stream]") {
    const std::string one = stream_of(kKey), two = stream_of(kKey);
    CHECK(one.size() == two.size());
    CHECK(one.substr(48) != two.substr(48));
    for (const char *word : {"first", "core", "pages-1.img"})
        CHECK(one.find(word) == std::string::npos);
}

TEST_CASE("the wrong key, none, or one too many are told apart from damage", "[pages][stream]") {
    test::TempDir dir;
    const auto message = [&](const std::string &content, const std::vector<std::byte> &key) {
        auto done = unpack(content, key, dir.fd());
        REQUIRE_FALSE(done);
        return done.error().message();
    };
    CHECK(message(stream_of(kKey), kOther).find("key does not fit") != std::string::npos);
    CHECK(message(stream_of(kKey), {}).find("encrypted") != std::string::npos);
    CHECK(message(stream_of({}), kKey).find("not encrypted") != std::string::npos);
    CHECK(message("not a stream, but long enough to have a head of one of them", {}).find("no stream") !=
          std::string::npos);
    CHECK(test::list(dir.path()).empty());
}

TEST_CASE("no byte of a sealed stream can be changed or left out", "[pages][stream]") {
    const std::string good = stream_of(kKey);
    for (size_t at = 0; at < good.size(); at++) {
        test::TempDir dir;
        std::string bad = good;
        bad[at] = static_cast<char>(bad[at] ^ (1 << (at % 8)));
        REQUIRE_FALSE(unpack(bad, kKey, dir.fd()));
        REQUIRE_FALSE(unpack(good.substr(0, at), kKey, dir.fd()));
    }
}

TEST_CASE("damaged plain streams are refused or read, and never reach out of the directory", "[pages][stream]") {
    const std::string good = stream_of({});
    for (size_t at = 0; at < good.size(); at++) {
        test::TempDir dir;
        REQUIRE_FALSE(unpack(good.substr(0, at), {}, dir.fd()));
        for (const int value : {0, 1, 0x2f, 0x7f, 0xff}) {
            test::TempDir other;
            std::string bad = good;
            bad[at] = static_cast<char>(value);
            (void)unpack(bad, {}, other.fd());
            for (const std::string &name : test::list(other.path()))
                REQUIRE(pages::stream::is_file_name(name));
        }
    }
}

TEST_CASE("pages go into a stream in their order, whatever their number at a time", "[pages][stream]") {
    test::TempDir dir;
    auto images = must(image::ImageDirWriter::open(dir.fd()));
    Collected stream;
    const auto sink = pages::stream_sink(images, stream);
    const auto output = must(sink->open(image::ImageKind::Pagemap, 7));
    std::string expected;
    uint64_t address = 0x10000;
    char letter = 0;
    for (const uint64_t count : {1, 25, 1, 128, 3, 200, 255, 1, 256, 600, 2}) {
        must(output->add(image::present_run(address, count)));
        const std::string contents(count * 4096, ++letter);
        must(output->put(bytes_of(contents)));
        expected += contents;
        address += (count + 1) * 4096;
    }
    must(output->close());
    CHECK(stream.files.at("pages-1.img") == expected);
    CHECK(std::filesystem::file_size(dir.path() / "pages-1.img") == expected.size());
}

TEST_CASE("names in a stream are those of images", "[pages][stream]") {
    using pages::stream::is_file_name;
    for (const char *name :
         {"inventory.img", "tmpfs-dev-45.tar.gz.img", "ip6tables-9.img", "stats-dump", "my_plugin.1"})
        CHECK(is_file_name(name));
    for (const char *name : {"", ".", "..", "parent", "a/b", "/etc/passwd", ".hidden", "a b", "-x"})
        CHECK_FALSE(is_file_name(name));
    CHECK_FALSE(is_file_name(std::string("a\0b", 3)));
    CHECK_FALSE(is_file_name(std::string(201, 'a')));
}
