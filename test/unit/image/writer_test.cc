#include "criu/image/image_writer.hh"

#include "criu/image/ghost.hh"
#include "criu/image/image_dir.hh"
#include "fs.pb.h"
#include "ghost-file.pb.h"
#include "inventory.pb.h"
#include "ipc-sem.pb.h"
#include "ipc-shm.pb.h"
#include "pagemap.pb.h"
#include "pipe-data.pb.h"
#include "stats.pb.h"
#include "support.hh"

#include <csignal>
#include <sys/resource.h>
#include <sys/stat.h>

using namespace image;
using test::must;

namespace {

img::fs_entry fs(uint32_t cwd) {
    img::fs_entry fs;
    fs.set_cwd_id(cwd);
    fs.set_root_id(2);
    fs.set_umask(022);
    return fs;
}

img::inventory_entry inventory() {
    img::inventory_entry inventory;
    inventory.set_img_version(2);
    return inventory;
}

std::vector<img::fs_entry> read_fs(const test::TempDir &dir, uint64_t id) {
    return must(must(ImageDir::open(dir.fd())).read<img::fs_entry>(ImageKind::Fs, id));
}

} // namespace

TEST_CASE("nothing is created before there is something to write", "[image]") {
    test::TempDir dir;
    auto writer = must(ImageDirWriter::open(dir.fd()));
    must(writer.add(ImageKind::Fs, 1, fs(7)));
    CHECK(test::list(dir.path()).empty());
    must(writer.finish());
    CHECK(test::list(dir.path()) == std::vector<std::string>{"fs-1.img"});
    CHECK(read_fs(dir, 1).at(0).cwd_id() == 7);
    struct stat st {};
    REQUIRE(stat((dir.path() / "fs-1.img").c_str(), &st) == 0);
    CHECK((st.st_mode & 07777) == 0600);
    CHECK(writer.bytes_written() == static_cast<uint64_t>(st.st_size));
    CHECK_FALSE(writer.add(ImageKind::Fs, 2, fs(1)));
}

TEST_CASE("the inventory comes last and an old one goes first", "[image]") {
    test::TempDir dir;
    test::spill(dir.path() / "inventory.img", "of an earlier dump");
    auto writer = must(ImageDirWriter::open(dir.fd()));
    must(writer.add(ImageKind::Inventory, 0, inventory()));
    must(writer.add(ImageKind::Fs, 1, fs(7)));
    CHECK(test::list(dir.path()) == std::vector<std::string>{"inventory.img"});
    must(writer.close_file(ImageKind::Fs, 1));
    CHECK(test::list(dir.path()) == std::vector<std::string>{"fs-1.img"});
    for (uint32_t i = 0; i < 1000; i++)
        must(writer.add(ImageKind::Fs, 100 + i, fs(i)));
    CHECK_FALSE(std::filesystem::exists(dir.path() / "inventory.img"));
    must(writer.finish());
    CHECK(test::slurp(dir.path() / "inventory.img").size() == 4 + 4 + 2);
}

TEST_CASE("until all else is there the inventory has another name", "[image]") {
    test::TempDir dir;
    auto writer = must(ImageDirWriter::open(dir.fd()));
    writer.mark_unfinished();
    writer.set_durable(true);
    must(writer.add(ImageKind::Fs, 1, fs(7)));
    must(writer.close_file(ImageKind::Fs, 1));
    CHECK(test::list(dir.path()) == std::vector<std::string>{"fs-1.img", "inventory.img.unfinished"});
    CHECK(no_inventory(must(ImageDir::open(dir.fd()))).message().find("unfinished") != std::string::npos);
    must(writer.add(ImageKind::Inventory, 0, inventory()));
    must(writer.finish());
    CHECK(test::list(dir.path()) == std::vector<std::string>{"fs-1.img", "inventory.img"});
}

TEST_CASE("what a killed dump has left goes, but for memory, which may be a page server's of now", "[image]") {
    test::TempDir dir;
    for (const char *name : {"inventory.img.unfinished", "seccomp.img", "pages-1.img", "pagemap-7.img", "notes.txt"})
        test::spill(dir.path() / name, "old");
    auto writer = must(ImageDirWriter::open(dir.fd()));
    writer.mark_unfinished();
    must(writer.add(ImageKind::Fs, 1, fs(7)));
    must(writer.close_file(ImageKind::Fs, 1));
    CHECK(test::list(dir.path()) == std::vector<std::string>{"fs-1.img", "inventory.img.unfinished", "notes.txt",
                                                             "pagemap-7.img", "pages-1.img"});
    writer.discard();
    CHECK(test::list(dir.path()) == std::vector<std::string>{"notes.txt", "pagemap-7.img", "pages-1.img"});
}

TEST_CASE("another writer of the same directory leaves an unfinished dump alone", "[image]") {
    test::TempDir dir;
    for (const char *name : {"inventory.img.unfinished", "seccomp.img"})
        test::spill(dir.path() / name, "of a dump that is at work");
    auto writer = must(ImageDirWriter::open(dir.fd()));
    must(writer.add(ImageKind::Fs, 1, fs(7)));
    must(writer.finish());
    CHECK(test::list(dir.path()) == std::vector<std::string>{"fs-1.img", "inventory.img.unfinished", "seccomp.img"});
}

TEST_CASE("statistics do not touch the inventory", "[image]") {
    test::TempDir dir;
    test::spill(dir.path() / "inventory.img", "of this dump");
    auto writer = must(ImageDirWriter::open(dir.fd()));
    must(writer.add(ImageKind::Stats, kStatsDump, img::stats_entry()));
    must(writer.finish());
    CHECK(test::list(dir.path()) == std::vector<std::string>{"inventory.img", "stats-dump"});
}

TEST_CASE("files of an earlier dump are replaced, links are not followed", "[image]") {
    test::TempDir dir;
    test::spill(dir.path() / "victim", "precious");
    std::filesystem::create_symlink("victim", dir.path() / "fs-1.img");
    test::spill(dir.path() / "fs-2.img", std::string(100000, 'x'));
    auto writer = must(ImageDirWriter::open(dir.fd()));
    must(writer.add(ImageKind::Fs, 1, fs(1)));
    must(writer.add(ImageKind::Fs, 2, fs(2)));
    must(writer.finish());
    CHECK(test::slurp(dir.path() / "victim") == "precious");
    CHECK(read_fs(dir, 1).size() == 1);
    CHECK(read_fs(dir, 2).size() == 1);
}

TEST_CASE("a thousand tasks need few descriptors, in any order of writing", "[image]") {
    test::TempDir dir;
    auto writer = must(ImageDirWriter::open(dir.fd()));
    for (uint32_t round = 0; round < 3; round++)
        for (uint32_t i = 0; i < 300; i++) {
            must(writer.add(ImageKind::Fs, i, fs(round)));
            REQUIRE(writer.open_files() <= 48);
        }
    must(writer.finish());
    for (uint32_t i = 0; i < 300; i++) {
        auto entries = read_fs(dir, i);
        REQUIRE(entries.size() == 3);
        REQUIRE(entries[2].cwd_id() == 2);
    }
}

TEST_CASE("large images are written as they grow", "[image]") {
    test::TempDir dir;
    auto writer = must(ImageDirWriter::open(dir.fd()));
    img::pipe_data_entry data;
    data.set_pipe_id(1);
    data.set_bytes(200000);
    std::vector<std::byte> bytes(200000, std::byte{'p'});
    must(writer.add(ImageKind::PipesData, 0, data, bytes));
    data.set_bytes(3);
    must(writer.add(ImageKind::PipesData, 0, data, std::span(bytes).first(3)));
    must(writer.finish());
    auto read = must(must(ImageDir::open(dir.fd())).read_with_payload<img::pipe_data_entry>(ImageKind::PipesData));
    REQUIRE(read.size() == 2);
    CHECK(read[0].payload == bytes);
    CHECK(read[1].payload.size() == 3);
    CHECK(writer.bytes_written() == std::filesystem::file_size(dir.path() / "pipes-data.img"));
}

TEST_CASE("payloads are padded as their kind asks, and must have the length that the entry says", "[image]") {
    test::TempDir dir;
    auto writer = must(ImageDirWriter::open(dir.fd()));
    img::ipc_sem_entry sem;
    for (auto set : {&img::ipc_desc_entry::set_key, &img::ipc_desc_entry::set_uid, &img::ipc_desc_entry::set_gid,
                     &img::ipc_desc_entry::set_cuid, &img::ipc_desc_entry::set_cgid, &img::ipc_desc_entry::set_mode,
                     &img::ipc_desc_entry::set_id})
        (sem.mutable_desc()->*set)(1);
    sem.set_nsems(3);
    const uint16_t values[]{1, 2, 3};
    must(writer.add(ImageKind::IpcnsSem, 1, sem, std::as_bytes(std::span(values))));
    must(writer.add(ImageKind::IpcnsSem, 1, sem, std::as_bytes(std::span(values))));
    auto wrong = writer.add(ImageKind::IpcnsSem, 1, sem, std::as_bytes(std::span(values).first(2)));
    REQUIRE_FALSE(wrong);
    CHECK(wrong.error().kind() == base::ErrorKind::Bug);
    CHECK_FALSE(writer.add(ImageKind::Fs, 1, fs(1), std::as_bytes(std::span(values))));
    must(writer.finish());
    auto read = must(must(ImageDir::open(dir.fd())).read_with_payload<img::ipc_sem_entry>(ImageKind::IpcnsSem, 1));
    REQUIRE(read.size() == 2);
    CHECK(read[1].payload.size() == 6);
}

TEST_CASE("messages of another kind and incomplete ones are refused", "[image]") {
    test::TempDir dir;
    auto writer = must(ImageDirWriter::open(dir.fd()));
    CHECK_FALSE(writer.add(ImageKind::Core, 1, fs(1)));
    CHECK_FALSE(writer.add(ImageKind::Fs, 1, img::fs_entry()));
    CHECK_FALSE(writer.add(ImageKind::Pages, 1, fs(1)));
    img::pagemap_head head;
    head.set_pages_id(1);
    img::pagemap_entry run;
    run.set_vaddr(0x1000);
    run.set_compat_nr_pages(1);
    CHECK_FALSE(writer.add(ImageKind::Pagemap, 1, run));
    must(writer.add(ImageKind::Pagemap, 1, head));
    CHECK_FALSE(writer.add(ImageKind::Pagemap, 1, head));
    must(writer.add(ImageKind::Pagemap, 1, run));
    must(writer.finish());
    CHECK(test::list(dir.path()) == std::vector<std::string>{"pagemap-1.img"});
}

TEST_CASE("a raw file takes what the caller writes, and counts when it is closed", "[image]") {
    test::TempDir dir;
    auto writer = must(ImageDirWriter::open(dir.fd()));
    int fd = must(writer.raw(ImageKind::Pages, 1));
    CHECK(must(writer.raw(ImageKind::Pages, 1)) == fd);
    REQUIRE(write(fd, "pages", 5) == 5);
    for (uint32_t i = 0; i < 200; i++)
        must(writer.add(ImageKind::Fs, i, fs(i)));
    CHECK(must(writer.raw(ImageKind::Pages, 1)) == fd);
    must(writer.close_file(ImageKind::Pages, 1));
    must(writer.finish());
    uint64_t total = 0;
    for (const auto &name : test::list(dir.path()))
        total += std::filesystem::file_size(dir.path() / name);
    CHECK(writer.bytes_written() == total);
}

TEST_CASE("the contents of a ghost may be written by the caller", "[image]") {
    test::TempDir dir;
    auto writer = must(ImageDirWriter::open(dir.fd()));
    img::ghost_file_entry ghost;
    ghost.set_uid(0);
    ghost.set_gid(0);
    ghost.set_mode(0100600);
    ghost.set_chunks(true);
    must(writer.add(ImageKind::GhostFile, 10, ghost));
    img::ghost_chunk_entry chunk;
    chunk.set_len(4);
    for (uint64_t at : {0, 8192}) {
        chunk.set_off(at);
        must(writer.add(ImageKind::GhostFile, 10, chunk));
        REQUIRE(write(must(writer.raw(ImageKind::GhostFile, 10)), "data", 4) == 4);
    }
    must(writer.finish());
    CHECK(writer.bytes_written() == std::filesystem::file_size(dir.path() / "ghost-file-a.img"));
    CHECK(must(must(ImageDir::open(dir.fd())).read_ghost(10))->pieces.size() == 2);
}

TEST_CASE("a discarded checkpoint leaves no file", "[image]") {
    test::TempDir dir;
    auto writer = must(ImageDirWriter::open(dir.fd()));
    for (uint32_t i = 0; i < 200; i++)
        must(writer.add(ImageKind::Fs, i, fs(i)));
    must(writer.raw(ImageKind::Pages, 1));
    CHECK_FALSE(test::list(dir.path()).empty());
    writer.discard();
    CHECK(test::list(dir.path()).empty());
}

TEST_CASE("a file that cannot be created is an error that names it", "[image]") {
    test::TempDir dir;
    auto writer = must(ImageDirWriter::open(dir.fd()));
    must(writer.add(ImageKind::Fs, 1, fs(1)));
    std::filesystem::create_directory(dir.path() / "fs-1.img");
    auto closed = writer.close_file(ImageKind::Fs, 1);
    REQUIRE_FALSE(closed);
    CHECK_THAT(closed.error().message(),
               Catch::Matchers::StartsWith("images in " + dir.path().string() + ": fs-1.img: "));
}

TEST_CASE("images of an earlier checkpoint go with its inventory, and nothing else does", "[image]") {
    test::TempDir dir;
    auto old = must(ImageDirWriter::open(dir.fd()));
    must(old.add(ImageKind::Fs, 1, fs(1)));
    must(old.add(ImageKind::Inventory, 0, inventory()));
    must(old.finish());
    std::ofstream(dir.path() / "dump.log") << "a log";
    auto writer = must(ImageDirWriter::open(dir.fd()));
    must(writer.add(ImageKind::Fs, 2, fs(2)));
    must(writer.close_file(ImageKind::Fs, 2));
    CHECK(writer.removed_images() == 2);
    CHECK_FALSE(std::filesystem::exists(dir.path() / "fs-1.img"));
    CHECK(std::filesystem::exists(dir.path() / "dump.log"));
    // Without an inventory they are somebody's who is writing at the same time.
    auto other = must(ImageDirWriter::open(dir.fd()));
    must(other.add(ImageKind::Fs, 3, fs(3)));
    must(other.close_file(ImageKind::Fs, 3));
    CHECK((other.removed_images() == 0 && std::filesystem::exists(dir.path() / "fs-2.img")));
}

TEST_CASE("a disk that fills up is an error that names the file", "[image]") {
    test::TempDir dir;
    auto writer = must(ImageDirWriter::open(dir.fd()));
    img::pipe_data_entry data;
    data.set_pipe_id(1);
    data.set_bytes(200000);
    std::vector<std::byte> bytes(200000);
    // The limit on the size of files stands in for the disk: the write is cut short, the next one fails.
    rlimit before{}, small{};
    REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
    small = {100000, before.rlim_max};
    auto handler = signal(SIGXFSZ, SIG_IGN);
    REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
    auto added = writer.add(ImageKind::PipesData, 0, data, bytes);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, handler);
    REQUIRE_FALSE(added);
    CHECK(added.error().code() == EFBIG);
    CHECK_THAT(added.error().message(), Catch::Matchers::StartsWith("pipes-data.img: "));
    writer.discard();
    CHECK(test::list(dir.path()).empty());
}
