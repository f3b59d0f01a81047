#include "core.pb.h"
#include "criu/image/entry_reader.hh"
#include "criu/image/ghost.hh"
#include "criu/image/image_dir.hh"
#include "criu/image/pagemap.hh"
#include "fdinfo.pb.h"
#include "fs.pb.h"
#include "inventory.pb.h"
#include "ipc-msg.pb.h"
#include "ipc-shm.pb.h"
#include "pipe-data.pb.h"
#include "sk-packet.pb.h"
#include "support.hh"

#include <sys/stat.h>

using namespace image;

namespace {

std::string word(uint32_t w) {
    return std::string(reinterpret_cast<const char *>(&w), 4);
}

std::string head(ImageKind kind) {
    return word(kCommonWord) + word(image_info(kind).magic);
}

std::string entry(const google::protobuf::Message &message) {
    std::string bytes = message.SerializePartialAsString();
    return word(static_cast<uint32_t>(bytes.size())) + bytes;
}

img::fs_entry fs() {
    img::fs_entry fs;
    fs.set_cwd_id(1);
    fs.set_root_id(2);
    fs.set_umask(022);
    return fs;
}

/// Reads all of `bytes` as entries of `kind`; the message of the first error, or "".
std::string failure(const std::string &bytes, ImageKind kind) {
    MemorySource source(std::as_bytes(std::span(bytes)));
    auto reader = EntryReader::open(source, "x.img", kind);
    if (!reader) {
        CHECK(reader.error().kind() == base::ErrorKind::BadImage);
        return reader.error().message();
    }
    while (true) {
        std::unique_ptr<google::protobuf::Message> message(reader->next_prototype().New());
        auto place = reader->next(*message);
        if (!place) {
            CHECK(place.error().kind() == base::ErrorKind::BadImage);
            return place.error().message();
        }
        if (!*place)
            return "";
    }
}

ImageDir golden(const char *name) {
    return test::must(ImageDir::open(test::open_dir(test::golden() / name).get()));
}

} // namespace

TEST_CASE("a well-formed image is read to its end", "[image]") {
    CHECK(failure(head(ImageKind::Fs), ImageKind::Fs) == "");
    CHECK(failure(head(ImageKind::Fs) + entry(fs()) + entry(fs()), ImageKind::Fs) == "");
}

TEST_CASE("a head that is missing or of another kind is refused", "[image]") {
    CHECK(failure("", ImageKind::Fs) == "x.img: offset 0: truncated");
    CHECK(failure("abc", ImageKind::Fs) == "x.img: offset 0: truncated");
    CHECK(failure(word(kCommonWord), ImageKind::Fs) == "x.img: offset 4: truncated");
    CHECK(failure(word(kCommonWord) + word(0x12345678), ImageKind::Fs) ==
          "x.img: offset 4: unknown magic 0x12345678: not an image of entries");
    CHECK(failure(head(ImageKind::Core), ImageKind::Fs) == "x.img: offset 0: this is a CORE image, expected FS");
    CHECK(failure(word(kServiceWord) + word(image_info(ImageKind::Fs).magic), ImageKind::Fs) ==
          "x.img: offset 0: wrong first word for a FS image");
    CHECK(failure(word(0), ImageKind::Fs) == "x.img: offset 0: unknown magic 0x0: not an image of entries");
}

TEST_CASE("images from before the common word are read", "[image]") {
    CHECK(failure(word(image_info(ImageKind::Fs).magic) + entry(fs()), ImageKind::Fs) == "");
}

TEST_CASE("entries that are cut, absurd or not complete are refused", "[image]") {
    std::string good = head(ImageKind::Fs) + entry(fs());
    for (size_t n = 9; n < good.size(); n++) {
        INFO(n);
        std::string text = failure(good.substr(0, n), ImageKind::Fs);
        CHECK_THAT(text, Catch::Matchers::StartsWith("x.img: offset 8: truncated"));
    }
    CHECK(failure(head(ImageKind::Fs) + word(0xffffffff) + "x", ImageKind::Fs) ==
          "x.img: offset 8: absurd entry length 4294967295");
    CHECK(failure(head(ImageKind::Fs) + word(3) + "\xff\xff\xff", ImageKind::Fs) ==
          "x.img: offset 12: not a valid fs_entry");
    img::fs_entry partial;
    partial.set_cwd_id(1);
    CHECK(failure(good + entry(partial), ImageKind::Fs) ==
          "x.img: offset " + std::to_string(good.size() + 4) + ": fs_entry lacks the required root_id");
}

TEST_CASE("a payload beyond the end of the file is refused", "[image]") {
    img::pipe_data_entry data;
    data.set_pipe_id(1);
    data.set_bytes(5);
    std::string image = head(ImageKind::PipesData) + entry(data);
    CHECK(failure(image + "12345", ImageKind::PipesData) == "");
    CHECK_THAT(failure(image + "1234", ImageKind::PipesData),
               Catch::Matchers::EndsWith("truncated: payload of 5 bytes, 4 left"));

    img::ipc_shm_entry shm;
    for (auto set : {&img::ipc_desc_entry::set_key, &img::ipc_desc_entry::set_uid, &img::ipc_desc_entry::set_gid,
                     &img::ipc_desc_entry::set_cuid, &img::ipc_desc_entry::set_cgid, &img::ipc_desc_entry::set_mode,
                     &img::ipc_desc_entry::set_id})
        (shm.mutable_desc()->*set)(1);
    shm.set_size(UINT64_MAX);
    CHECK_THAT(failure(head(ImageKind::IpcnsShm) + entry(shm), ImageKind::IpcnsShm),
               Catch::Matchers::Contains("absurd segment size"));
    shm.set_size(5);
    CHECK(failure(head(ImageKind::IpcnsShm) + entry(shm) + "12345678", ImageKind::IpcnsShm) == "");
    CHECK_THAT(failure(head(ImageKind::IpcnsShm) + entry(shm) + "1234567", ImageKind::IpcnsShm),
               Catch::Matchers::Contains("truncated"));

    img::ipc_msg_entry queue;
    *queue.mutable_desc() = shm.desc();
    queue.set_qbytes(100);
    queue.set_qnum(2);
    img::ipc_msg message;
    message.set_mtype(1);
    message.set_msize(3);
    std::string one = entry(message) + std::string("abc\0\0\0\0\0", 8);
    std::string messages = head(ImageKind::IpcnsMsg) + entry(queue);
    CHECK(failure(messages + one + one, ImageKind::IpcnsMsg) == "");
    CHECK_THAT(failure(messages + one, ImageKind::IpcnsMsg), Catch::Matchers::Contains("truncated"));
    CHECK_THAT(failure(messages + one + entry(message) + "abc", ImageKind::IpcnsMsg),
               Catch::Matchers::Contains("truncated: message 1"));
}

TEST_CASE("a message of another type is a bug of the caller, not of the image", "[image]") {
    std::string bytes = head(ImageKind::Fs) + entry(fs());
    MemorySource source(std::as_bytes(std::span(bytes)));
    auto reader = test::must(EntryReader::open(source, "x.img", ImageKind::Fs));
    img::core_entry core;
    auto place = reader.next(core);
    REQUIRE_FALSE(place);
    CHECK(place.error().kind() == base::ErrorKind::Bug);
}

TEST_CASE("a missing image has no entries", "[image]") {
    test::TempDir dir;
    auto images = test::must(ImageDir::open(dir.fd()));
    CHECK_FALSE(images.exists(ImageKind::Core, 1));
    CHECK(test::must(images.read<img::core_entry>(ImageKind::Core, 1)).empty());
    CHECK_FALSE(test::must(images.read_one<img::inventory_entry>(ImageKind::Inventory)));
    CHECK(test::must(images.read_with_payload<img::pipe_data_entry>(ImageKind::PipesData)).empty());
    CHECK(test::must(images.read_pagemap(ImageKind::Pagemap, 1)).entries.empty());
    CHECK_FALSE(test::must(images.read_ghost(1)));
    CHECK_FALSE(test::must(images.open_raw(ImageKind::Pages, 1)));
    CHECK_FALSE(test::must(images.parent()));
}

TEST_CASE("what is not a file is not an image", "[image]") {
    test::TempDir dir;
    REQUIRE(mkfifoat(dir.fd(), "fs-1.img", 0600) == 0);
    auto fs = test::must(ImageDir::open(dir.fd())).read<img::fs_entry>(ImageKind::Fs, 1);
    REQUIRE_FALSE(fs);
    CHECK(fs.error().message() == "fs-1.img: not a regular file");
}

TEST_CASE("golden images are read", "[image]") {
    auto sampler = golden("sampler");
    auto inventory = test::must(sampler.read_one<img::inventory_entry>(ImageKind::Inventory));
    REQUIRE(inventory);
    CHECK(inventory->img_version() == 2);
    auto core = test::must(sampler.read_one<img::core_entry>(ImageKind::Core, 883));
    REQUIRE(core);
    CHECK(core->tc().comm() == "sampler");
    auto queues = test::must(sampler.read_with_payload<img::sk_packet_entry>(ImageKind::SkQueues));
    REQUIRE(queues.size() == 2);
    CHECK(std::string(reinterpret_cast<char *>(queues[1].payload.data()), queues[1].payload.size()) == "with fd");
    CHECK(test::must(sampler.read<img::file_entry>(ImageKind::Files)).size() == 58);
}

TEST_CASE("pagemaps are read and compared with their pages", "[image]") {
    auto sampler = golden("sampler");
    auto pagemap = test::must(sampler.read_pagemap(ImageKind::Pagemap, 883));
    CHECK(pagemap.head.pages_id() == 3);
    CHECK(pagemap.stored_bytes == test::must(sampler.file_size(ImageKind::Pages, 3)));
    CHECK(check_pages_file(sampler, ImageKind::Pagemap, 883, pagemap));

    pagemap.head.set_pages_id(1);
    auto checked = check_pages_file(sampler, ImageKind::Pagemap, 883, pagemap);
    REQUIRE_FALSE(checked);
    CHECK(checked.error().message() == "pages-1.img: offset 4096: truncated: pagemap-883.img describes 110592 bytes");
}

TEST_CASE("pagemaps whose runs overlap or overflow are refused", "[image]") {
    img::pagemap_head first;
    first.set_pages_id(1);
    auto run = [](uint64_t at, uint64_t pages) {
        img::pagemap_entry e;
        e.set_vaddr(at);
        e.set_compat_nr_pages(0);
        e.set_nr_pages(pages);
        return entry(e);
    };
    test::TempDir dir;
    auto images = test::must(ImageDir::open(dir.fd()));
    std::string start = head(ImageKind::Pagemap) + entry(first);
    auto reads = [&](const std::string &runs) {
        test::spill(dir.path() / "pagemap-1.img", start + runs);
        return images.read_pagemap(ImageKind::Pagemap, 1).has_value();
    };
    CHECK(reads(run(0x1000, 2) + run(0x3000, 1)));
    CHECK_FALSE(reads(run(0x1000, 2) + run(0x2000, 1)));
    CHECK_FALSE(reads(run(0x3000, 1) + run(0x1000, 1)));
    CHECK_FALSE(reads(run(0x1001, 1)));
    CHECK_FALSE(reads(run(0x1000, UINT64_MAX)));
    test::spill(dir.path() / "pagemap-1.img", head(ImageKind::Pagemap));
    CHECK_FALSE(images.read_pagemap(ImageKind::Pagemap, 1));
}

TEST_CASE("a dense ghost is one piece, a sparse one a list", "[image]") {
    auto ghost = test::must(golden("sampler").read_ghost(1));
    REQUIRE(ghost);
    REQUIRE(ghost->pieces.size() == 1);
    char text[32]{};
    REQUIRE(pread(ghost->file.get(), text, ghost->pieces[0].length,
                  static_cast<off_t>(ghost->pieces[0].image_offset)) == 16);
    CHECK(std::string(text) == "deleted contents");

    img::ghost_file_entry sparse = ghost->entry;
    sparse.set_chunks(true);
    img::ghost_chunk_entry chunk;
    chunk.set_len(3);
    chunk.set_off(8192);
    std::string image = head(ImageKind::GhostFile) + entry(sparse) + entry(chunk) + "abc" + entry(chunk) + "def";
    CHECK(failure(image, ImageKind::GhostFile) == "");
    CHECK_THAT(failure(image.substr(0, image.size() - 1), ImageKind::GhostFile),
               Catch::Matchers::Contains("truncated"));
    test::TempDir dir;
    test::spill(dir.path() / "ghost-file-1f.img", image);
    auto read = test::must(test::must(ImageDir::open(dir.fd())).read_ghost(0x1f));
    REQUIRE(read->pieces.size() == 2);
    CHECK(read->pieces[1].offset == 8192);
    CHECK(read->pieces[1].image_offset == image.size() - 3);
}
