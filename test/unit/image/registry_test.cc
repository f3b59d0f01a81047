#include "criu/image/registry.hh"
#include "support.hh"

using namespace image;

namespace {

std::string entry_text(const ImageInfo &info) {
    if (!info.entry)
        return info.magic ? "?" : "raw";
    std::string name = info.entry().GetDescriptor()->name();
    return info.first_entry ? info.first_entry().GetDescriptor()->name() + ", then " + name : name;
}

std::string payload_text(Payload payload) {
    switch (payload) {
    case Payload::PipesData:
        return "pipes_data";
    case Payload::SkQueue:
        return "sk_queues";
    case Payload::TcpStream:
        return "tcp_stream";
    case Payload::BpfmapData:
        return "bpfmap_data";
    case Payload::IpcShm:
        return "ipc_shm";
    case Payload::IpcMsg:
        return "ipc_msg_queue";
    case Payload::IpcSem:
        return "ipc_sem_set";
    case Payload::None:
    case Payload::Ghost: // the reference names it in its text, not in the table
        return "";
    }
    return "?";
}

} // namespace

TEST_CASE("the registry is the reference table", "[image]") {
    auto rows = test::read_tsv(test::golden() / "reference/image-files.tsv");
    REQUIRE(rows.size() == kImageKinds);
    for (size_t i = 0; i < rows.size(); i++) {
        const ImageInfo &info = all_images()[i];
        const auto &row = rows[i];
        INFO(row[0]);
        CHECK(info.name == row[0]);
        // CRIU writes stats-dump without the ending that the table gives every pattern (see golden/*/stats-dump).
        CHECK(std::string(info.pattern) == (row[0] == "STATS" ? "stats-%s" : row[1]));
        CHECK(info.magic == std::stoul(row[2], nullptr, 16));
        if (row[0] != "BINFMT_MISC_OLD") // same magic and message as BINFMT_MISC
            CHECK(entry_text(info) == row[3]);
        CHECK(payload_text(info.payload) == row[4]);
    }
}

TEST_CASE("image names are made and recognised", "[image]") {
    CHECK(image_file_name(ImageKind::Core, 42) == "core-42.img");
    CHECK(image_file_name(ImageKind::TcpStream, 0x14bc58) == "tcp-stream-14bc58.img");
    CHECK(image_file_name(ImageKind::TmpfsDev, 41) == "tmpfs-dev-41.tar.gz.img");
    CHECK(image_file_name(ImageKind::Stats, kStatsDump) == "stats-dump");
    CHECK(image_file_name(ImageKind::Stats, kStatsRestore) == "stats-restore");
    for (const ImageInfo &info : all_images()) {
        bool once = info.pattern.find('%') == std::string_view::npos;
        auto found = match_image_name(image_file_name(info.kind, 1));
        INFO(info.name);
        REQUIRE(found);
        CHECK(found->id == (once ? 0 : 1));
        // The old page images share the names of the new ones.
        bool same_name = info.kind == ImageKind::PagesOld;
        CHECK(found->kind == (same_name ? ImageKind::Pages : info.kind));
    }
    for (const char *other : {"core-.img", "core-1x.img", "core--1.img", "core-1.img.bak", "xcore-1.img", "dump.log",
                              "", "core-99999999999999999999.img"})
        CHECK_FALSE(match_image_name(other));
}

TEST_CASE("every file of the golden directories has a known name", "[image]") {
    for (const char *dir : {"sampler", "net", "container"})
        for (const auto &name : test::list(test::golden() / dir))
            if (name != "json" && name != "descriptors.json") {
                INFO(dir << "/" << name);
                CHECK(match_image_name(name));
            }
}
