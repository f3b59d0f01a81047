// Images of older versions: what is read into a checkpoint when facts lie in other places.
#include "../image/support.hh"
#include "core.pb.h"
#include "criu/image/image_writer.hh"
#include "criu/plan/checkpoint.hh"

#include <filesystem>

namespace {

/// The golden sampler, with another core of its root task.
plan::Checkpoint load_with(const test::TempDir &dir, const img::core_entry &core) {
    // A new checkpoint removes the images of an old one: the others come in behind it.
    auto images = test::must(image::ImageDir::open(test::open_dir(test::golden() / "sampler").get()));
    const auto inventory = test::must(images.read_one<img::inventory_entry>(image::ImageKind::Inventory));
    auto writer = test::must(image::ImageDirWriter::open(dir.fd()));
    test::must(writer.add(image::ImageKind::Core, 883, core));
    test::must(writer.add(image::ImageKind::Inventory, 0, *inventory));
    test::must(writer.finish());
    for (const auto &file : std::filesystem::directory_iterator(test::golden() / "sampler"))
        if (file.is_regular_file() && !std::filesystem::exists(dir.path() / file.path().filename()))
            std::filesystem::copy(file.path(), dir.path() / file.path().filename());
    return test::must(plan::load_checkpoint(dir.fd()));
}

img::core_entry root_core() {
    auto golden = test::must(image::ImageDir::open(test::open_dir(test::golden() / "sampler").get()));
    return *test::must(golden.read_one<img::core_entry>(image::ImageKind::Core, 883));
}

} // namespace

TEST_CASE("a sandbox that was noted for the process is that of all its threads", "[plan]") {
    test::TempDir dir;
    img::core_entry core = root_core();
    core.mutable_tc()->set_old_seccomp_mode(img::filter);
    core.mutable_tc()->set_old_seccomp_filter(3);
    const plan::Checkpoint checkpoint = load_with(dir, core);
    REQUIRE(checkpoint.root().threads.size() == 3);
    for (const plan::ThreadImage &thread : checkpoint.root().threads) {
        CHECK(thread.core.thread_core().seccomp_mode() == img::filter);
        CHECK(thread.core.thread_core().seccomp_filter() == 3);
    }
}

TEST_CASE("what a thread says of its sandbox wins over what the process says", "[plan]") {
    test::TempDir dir;
    img::core_entry core = root_core();
    core.mutable_tc()->set_old_seccomp_mode(img::filter);
    core.mutable_thread_core()->set_seccomp_mode(img::disabled);
    const plan::Checkpoint checkpoint = load_with(dir, core);
    CHECK(checkpoint.root().threads[0].core.thread_core().seccomp_mode() == img::disabled);
    CHECK(checkpoint.root().threads[1].core.thread_core().seccomp_mode() == img::filter);
}

TEST_CASE("a process or thread that is listed over and over is refused before anything is read of it", "[plan]") {
    auto refused = [](const auto &change) {
        test::TempDir dir;
        auto images = test::must(image::ImageDir::open(test::open_dir(test::golden() / "sampler").get()));
        const auto inventory = test::must(images.read_one<img::inventory_entry>(image::ImageKind::Inventory));
        auto tree = test::must(images.read<img::pstree_entry>(image::ImageKind::Pstree));
        change(tree);
        auto writer = test::must(image::ImageDirWriter::open(dir.fd()));
        for (const img::pstree_entry &entry : tree)
            test::must(writer.add(image::ImageKind::Pstree, 0, entry));
        test::must(writer.add(image::ImageKind::Inventory, 0, *inventory));
        test::must(writer.finish());
        auto loaded = plan::load_checkpoint(dir.fd());
        REQUIRE_FALSE(loaded); // the other images are not even there
        return loaded.error().message();
    };
    const auto processes = [](auto &tree) { tree.assign(100'000, tree.front()); };
    const auto threads = [](auto &tree) {
        for (int i = 0; i < 300'000; i++)
            tree.front().add_threads(885);
    };
    CHECK(refused(processes).find("id 883 is there twice") != std::string::npos);
    CHECK(refused(threads).find("id 885 is there twice") != std::string::npos);
}
