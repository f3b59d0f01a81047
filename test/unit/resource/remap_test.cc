// What a restore may remove: an image, which may be a stranger's, can name any file.
#include "criu/resource/file/file.hh"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

namespace {

namespace fs = std::filesystem;

struct Folder {
    Folder() { path = mkdtemp(pattern); }
    ~Folder() { fs::remove_all(path); }
    std::string make(const std::string &name) const {
        std::ofstream(path / name) << "contents";
        return path / name;
    }
    char pattern[32] = "/tmp/criu-remap.XXXXXX";
    fs::path path;
};

void remove_as_if_linked(const std::string &extra, const std::string &old) {
    std::map<uint32_t, img::file_entry> files;
    files[1].mutable_reg()->set_name(old);
    files[2].mutable_reg()->set_name(extra);
    img::remap_file_path_entry remap;
    remap.set_orig_id(1);
    remap.set_remap_id(2);
    remap.set_remap_type(img::LINKED);
    resource::remove_link_remaps([](int32_t) { return std::string(); }, files, {{1, remap}});
}

} // namespace

TEST_CASE("a link that a dump has made is removed", "[resource]") {
    const Folder folder;
    const std::string link = folder.make("link_remap.7");
    remove_as_if_linked(link, folder.path / "old");
    CHECK_FALSE(fs::exists(link));
    CHECK_FALSE(fs::exists(folder.path / "old"));
}

TEST_CASE("a link remap of another name is not removed", "[resource]") {
    const Folder folder;
    const std::string precious = folder.make("passwd"), in_folder = folder.make("not_link_remap.7");
    remove_as_if_linked(precious, folder.path / "old");
    remove_as_if_linked(in_folder, folder.path / "old");
    CHECK(fs::exists(precious));
    CHECK(fs::exists(in_folder));
}
