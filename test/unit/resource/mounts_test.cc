// Mount tables: what the kernel prints, what the image says, and the order in which a restore makes them.
#include "criu/image/image_dir.hh"
#include "criu/resource/namespace/mounts/plan.hh"
#include "criu/resource/namespace/mounts/table.hh"

#include <algorithm>
#include <catch2/catch.hpp>
#include <fcntl.h>

using namespace resource::mounts;

namespace {

std::vector<img::mnt_entry> golden() {
    auto dir = image::ImageDir::open(open(TEST_GOLDEN "/container", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    REQUIRE(dir);
    auto entries = dir->read<img::mnt_entry>(image::ImageKind::Mnts, 13);
    REQUIRE(entries);
    REQUIRE(entries->size() > 20);
    return *entries;
}

/// Every key of the image gets a path.
Externals given_for(const std::vector<img::mnt_entry> &entries) {
    Externals given;
    given.root = "/bundle/rootfs";
    for (const img::mnt_entry &entry : entries)
        if (entry.has_ext_key())
            given.paths[entry.ext_key()] = "/host" + entry.ext_key();
    return given;
}

constexpr const char *kTable = "40 30 0:20 / / rw,relatime - overlay overlay rw,lowerdir=/a\n"
                               "41 40 0:21 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw\n"
                               "42 41 0:21 /sys /proc/sys ro,relatime - proc proc rw\n"
                               "43 40 0:22 / /dev rw,nosuid shared:7 master:3 - tmpfs tmpfs rw,size=64k,mode=755\n"
                               "44 40 8:1 /srv/data /data rw,noatime - ext4 /dev/sda1 rw,discard\n";

std::vector<parse::Mount> table() {
    auto mounts = parse::parse_mountinfo(kTable);
    REQUIRE(mounts);
    return *mounts;
}

} // namespace

TEST_CASE("mounts: flags, options and groups of a table, the last mount first", "[mounts]") {
    Externals externals;
    externals.keys["/data"] = "key";
    auto entries = describe(table(), externals);
    REQUIRE(entries);
    REQUIRE(entries->size() == 5);
    const img::mnt_entry &data = (*entries)[0], &dev = (*entries)[1], &sys = (*entries)[2], &proc = (*entries)[3];
    CHECK(data.ext_key() == "key");
    CHECK(data.flags() == kNoAtime);
    CHECK(dev.flags() == (kNoSuid | kStrictAtime | kShared | kSlave));
    CHECK(dev.options() == "size=64k,mode=755");
    CHECK(dev.shared_id() == 7);
    CHECK(dev.master_id() == 3);
    CHECK(sys.root() == "/sys");
    CHECK(sys.flags() == (kReadOnly | kRelAtime));
    CHECK(sys.sb_flags() == 0);
    CHECK(proc.fstype() == img::PROC);
}

TEST_CASE("mounts: a part of a file system that nobody has given is refused by name", "[mounts]") {
    auto refused = describe(table(), {});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message().find("mount /data") != std::string::npos);
    CHECK(refused.error().hint().find("--external 'mnt[/data]:KEY'") != std::string::npos);
}

TEST_CASE("mounts: the plan of a container of runc", "[mounts]") {
    const auto entries = golden();
    auto plan = plan_mounts(entries, given_for(entries));
    REQUIRE(plan);
    const std::string text = print(*plan, entries);
    CHECK(text.starts_with("mount /: root directory /bundle/rootfs\n"));
    CHECK(text.find("mount /proc: new proc\n") != std::string::npos);
    CHECK(text.find("mount /proc/sys: part of /proc: /sys\n") != std::string::npos);
    CHECK(text.find("mount /dev: new tmpfs size=65536k,mode=755, filled\n") != std::string::npos);
    CHECK(text.find("mount /proc/keys: given: /host/dev/null\n") != std::string::npos);
    // Parents before children.
    CHECK(text.find("attach /dev\n") < text.find("attach /dev/pts\n"));
    CHECK(text.find("attach /sys/fs/cgroup\n") < text.find("attach /sys/fs/cgroup/memory\n"));
    CHECK(plan->attaching.size() == entries.size() - 1);
}

TEST_CASE("mounts: plans that cannot be are refused", "[mounts]") {
    auto entries = golden();
    Externals given = given_for(entries);
    given.paths.erase("/dev/null");
    CHECK(plan_mounts(entries, given).error().message().find("No mapping for") != std::string::npos);

    given = given_for(entries);
    given.root.clear();
    CHECK(plan_mounts(entries, given).error().hint().find("--root") != std::string::npos);

    given = given_for(entries);
    auto doubled = entries;
    doubled.push_back(entries.front());
    CHECK(plan_mounts(doubled, given).error().kind() == base::ErrorKind::BadImage);

    auto climbing = entries;
    climbing.front().set_mountpoint("/proc/../../etc");
    CHECK(plan_mounts(climbing, given).error().kind() == base::ErrorKind::BadImage);

    auto circle = entries; // two mounts that are each other's parents
    auto proc = std::ranges::find(circle, "/proc", &img::mnt_entry::mountpoint);
    auto sys = std::ranges::find(circle, "/proc/sys", &img::mnt_entry::mountpoint);
    REQUIRE((proc != circle.end() && sys != circle.end()));
    proc->set_parent_mnt_id(sys->mnt_id());
    CHECK_FALSE(plan_mounts(circle, given));
}

TEST_CASE("mounts: groups of propagation, masters first", "[mounts]") {
    std::vector<img::mnt_entry> entries;
    auto add = [&](uint32_t id, const char *place, uint32_t shared, uint32_t master) {
        img::mnt_entry &entry = entries.emplace_back();
        entry.set_fstype(img::TMPFS);
        entry.set_mnt_id(id);
        entry.set_root_dev(id == 1 ? 1 : 2);
        entry.set_parent_mnt_id(id == 1 ? 99 : 1);
        entry.set_root("/");
        entry.set_mountpoint(place);
        entry.set_shared_id(shared);
        entry.set_master_id(master);
    };
    add(4, "/slave", 0, 5);
    add(3, "/both", 6, 5);
    add(2, "/shared", 5, 0);
    add(5, "/peer", 5, 0);
    add(1, "/", 0, 0);
    Externals given;
    given.root = "/root";
    auto plan = plan_mounts(entries, given);
    REQUIRE(plan);
    const std::string text = print(*plan, entries);
    CHECK(text.find("propagation of /shared: shared\n") != std::string::npos);
    CHECK(text.find("propagation of /peer: joins /shared\n") != std::string::npos);
    CHECK(text.find("propagation of /both: joins /shared slave shared\n") != std::string::npos);
    CHECK(text.find("propagation of /slave: joins /shared slave\n") != std::string::npos);
    CHECK(text.find("/shared: shared") < text.find("/both: joins"));
}
