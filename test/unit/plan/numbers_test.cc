// Who is called how in pid namespaces below the root's, and images that contradict themselves.
#include "../image/support.hh"
#include "core.pb.h"
#include "criu/image/image_writer.hh"
#include "criu/plan/numbers.hh"
#include "pidns.pb.h"

namespace {

constexpr uint32_t kRoot = 9, kOuter = 20, kInner = 21;

plan::TaskImage task(uint32_t pid, uint32_t parent, uint32_t ns) {
    plan::TaskImage image{.pid = pid, .ppid = parent, .pgid = pid, .sid = pid};
    img::core_entry core;
    core.mutable_tc()->set_task_state(1);
    image.threads.push_back({pid, core});
    image.ids.set_pid_ns_id(ns);
    return image;
}

/// 10 -> 11, the init of one namespace -> 12, the init of another in that -> 13, in that.
std::vector<plan::TaskImage> tasks() {
    return {task(10, 0, kRoot), task(11, 10, kOuter), task(12, 11, kInner), task(13, 12, kInner)};
}

using Table = std::vector<std::pair<uint32_t, uint32_t>>;

struct Images {
    Table outer{{11, 1}, {12, 5}, {13, 6}}, inner{{12, 1}, {13, 2}};
    uint32_t outer_parent = kRoot, inner_parent = kOuter;

    base::Result<tree::Numbers> read(const std::vector<plan::TaskImage> &all = tasks()) const {
        test::TempDir dir;
        auto writer = test::must(image::ImageDirWriter::open(dir.fd()));
        write(writer, kOuter, outer_parent, outer);
        write(writer, kInner, inner_parent, inner);
        test::must(writer.finish());
        auto images = test::must(image::ImageDir::open(test::open_dir(dir.path()).get()));
        return plan::read_numbers(images, all);
    }

    static void write(image::ImageDirWriter &writer, uint32_t id, uint32_t parent, const Table &table) {
        img::pidns_entry entry;
        entry.mutable_extension()->set_parent(parent);
        for (auto [number, inner] : table) {
            img::ext_number &out = *entry.mutable_extension()->add_numbers();
            out.set_number(number), out.set_inner(inner);
        }
        test::must(writer.add(image::ImageKind::Pidns, id, entry));
    }
};

} // namespace

TEST_CASE("everybody has a number in his own pid namespace and in those around it", "[plan]") {
    const tree::Numbers numbers = test::must(Images{}.read());
    CHECK(numbers.home_of(10) == tree::Numbers::kRoots);
    CHECK(numbers.home_of(12) == kInner);
    CHECK(numbers.everywhere(13) == std::vector<int32_t>{2, 6, 13});
    CHECK(numbers.everywhere(10) == std::vector<int32_t>{10});
    CHECK(numbers.seen_by(13, 12) == 1);
    CHECK(numbers.seen_by(11, 13) == 6);
    CHECK(numbers.seen_by(10, 13) == 13);
    CHECK(numbers.seen_by(13, 11) == 0); // he is outside
    CHECK(numbers.find(kInner)->init == 12);
}

TEST_CASE("tables of pid namespaces that contradict themselves are refused", "[plan]") {
    auto refused = [](auto change) {
        Images images;
        change(images);
        return !images.read();
    };
    CHECK(refused([](Images &images) { images.outer_parent = kInner; }));      // a circle
    CHECK(refused([](Images &images) { images.outer_parent = 77; }));          // an image that is not there
    CHECK(refused([](Images &images) { images.inner[0].second = 3; }));        // no init
    CHECK(refused([](Images &images) { images.inner[1].second = 1; }));        // two
    CHECK(refused([](Images &images) { images.inner.push_back({13, 7}); }));   // two numbers of one
    CHECK(refused([](Images &images) { images.outer.pop_back(); }));           // not known around it
    CHECK(refused([](Images &images) { images.inner.pop_back(); }));           // not where he lives
    CHECK(refused([](Images &images) { images.inner[1].second = 1u << 30; })); // no number of any kernel
}

TEST_CASE("children can only be born in a pid namespace of the tree, inside of one's own", "[plan]") {
    auto read = [](size_t who, uint32_t init) {
        auto all = tasks();
        all[who].threads[0].core.mutable_thread_core()->mutable_ext()->set_pid_for_children(init);
        return static_cast<bool>(Images{}.read(all));
    };
    CHECK(read(0, 11));
    CHECK(read(0, 12));
    CHECK(read(1, 12));
    CHECK(read(1, 0)); // a new one
    CHECK_FALSE(read(2, 11));
    CHECK_FALSE(read(2, 12));
    CHECK_FALSE(read(0, 13));
    CHECK_FALSE(read(0, 1));
}

TEST_CASE("a parent lives around its children, and that of an init right around it", "[plan]") {
    auto all = tasks();
    all[3].ppid = 10; // one that has gone there by setns: fine
    CHECK(Images{}.read(all));
    all[2].ppid = 10;
    CHECK_FALSE(Images{}.read(all));
    all = tasks();
    all[1].ppid = 13;
    CHECK_FALSE(Images{}.read(all));
}
