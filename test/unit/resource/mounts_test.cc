// Mount tables: what the kernel prints, what the image says, and the order in which a restore makes them.
#include "criu/image/image_dir.hh"
#include "criu/resource/namespace/mounts/host_mounts.hh"
#include "criu/resource/namespace/mounts/overlay.hh"
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
    auto entries = describe(table(), {}, {}, externals);
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
    auto refused = describe(table(), {}, {}, {});
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

namespace {

constexpr const char *kHost = "20 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw,discard\n"
                              "21 20 8:2 / /srv rw shared:3 - ext4 /dev/sda2 rw\n"
                              "22 20 8:1 /srv/data /mnt/data rw shared:9 - ext4 /dev/sda1 rw,discard\n"
                              "23 20 0:6 / /dev rw shared:2 - devtmpfs devtmpfs rw\n";

std::vector<parse::Mount> host() {
    auto mounts = parse::parse_mountinfo(kHost);
    REQUIRE(mounts);
    return *mounts;
}

parse::Mount one(const std::string &line) {
    auto mounts = parse::parse_mountinfo(line);
    REQUIRE(mounts);
    return mounts->front();
}

} // namespace

TEST_CASE("mounts: a path leads to the mount on top", "[mounts]") {
    const auto all = host();
    CHECK(mount_at(all, "/etc")->id == 20);
    CHECK(mount_at(all, "/srv/data")->id == 21);
    CHECK(mount_at(all, "/srvx")->id == 20);
    CHECK(mount_at(all, "/mnt/data/x")->id == 22);
    CHECK(mount_at({}, "/") == nullptr);
}

TEST_CASE("mounts: where a mount of the tree shows the caller's", "[mounts]") {
    const auto all = host();
    const auto data = one("44 40 8:1 /srv/data/x /data rw - ext4 /dev/sda1 rw,discard\n");
    Externals any;
    auto found = find_source(data, all, any);
    REQUIRE(found);
    CHECK(found->path == "/mnt/data/x"); // what /srv of the other file system covers is not there to be seen
    CHECK_FALSE(find_source(one("44 40 8:3 / /data rw - ext4 /dev/sda3 rw\n"), all, any));

    const auto slave = one("44 40 8:1 /srv/data /data rw master:9 - ext4 /dev/sda1 rw,discard\n");
    CHECK_FALSE(find_source(slave, all, any));
    any.masters = true;
    CHECK(find_source(slave, all, any)->path == "/mnt/data");
    const auto shared = one("44 40 8:2 /a /data rw shared:70 - ext4 /dev/sda2 rw\n");
    CHECK_FALSE(find_source(shared, all, any));
    any.sharing = true;
    CHECK(find_source(shared, all, any)->path == "/srv/a");
    CHECK_FALSE(find_source(shared, all, any)->same_group);
    CHECK(find_source(one("44 40 8:2 /a /data rw shared:3 - ext4 /dev/sda2 rw\n"), all, any)->same_group);
}

TEST_CASE("mounts: those of the caller are found, and taken from the same path", "[mounts]") {
    Externals externals;
    externals.automatic = true;
    auto entries = describe(table(), host(), {}, externals);
    REQUIRE(entries);
    CHECK((*entries)[0].ext_key() == "CRIU:AUTOGENERATED");
    CHECK((*entries)[0].source() == "mnt/data");
    CHECK_FALSE((*entries)[1].has_ext_key());

    externals.root = "/bundle";
    auto plan = plan_mounts(*entries, externals);
    REQUIRE(plan);
    CHECK(print(*plan, *entries).find("mount /data: given: /mnt/data\n") != std::string::npos);
    externals.automatic = false;
    CHECK(plan_mounts(*entries, externals).error().hint().find("mnt[]") != std::string::npos);
}

TEST_CASE("mounts: what is left out goes with all that lies on it", "[mounts]") {
    Externals externals;
    externals.skipped = {"/data", "/proc"};
    auto entries = describe(table(), {}, {}, externals);
    REQUIRE(entries);
    REQUIRE(entries->size() == 2);
    CHECK((*entries)[0].mountpoint() == "/dev");
    externals.skipped = {"/dev"};
    CHECK(without_skipped(*entries, externals).size() == 1);
    externals.skipped = {"/"};
    CHECK(without_skipped(*entries, externals).size() == 2);
}

TEST_CASE("mounts: devices by name, types by name", "[mounts]") {
    const std::vector<parse::Mount> mounts{one("40 30 0:20 / / rw - overlay overlay rw\n"),
                                           one("41 40 8:7 / /disk rw - ext4 /dev/sda7 rw,discard\n"),
                                           one("42 40 0:33 / /conf rw - configfs none rw\n")};
    Externals externals;
    CHECK_FALSE(describe(mounts, {}, {}, externals));
    externals.devices["8/7"] = "disk";
    CHECK_FALSE(describe(mounts, {}, {}, externals));
    externals.enabled = {"configfs", "ext4"};
    auto entries = describe(mounts, {}, {}, externals);
    REQUIRE(entries);
    CHECK((*entries)[0].fsname() == "configfs");
    CHECK((*entries)[1].ext_key() == "CRIU:EXTERNAL_DEV");
    CHECK((*entries)[1].source() == "dev[disk]");
    externals.devices.clear();
    CHECK_FALSE(describe(mounts, {}, {}, externals)); // a device is never mounted because of its type

    externals.root = "/bundle";
    CHECK(plan_mounts(*entries, externals).error().hint().find("dev[disk]") != std::string::npos);
    externals.devices["disk"] = "/dev/loop7";
    auto plan = plan_mounts(*entries, externals);
    REQUIRE(plan);
    CHECK(print(*plan, *entries).find("mount /disk: new ext4 discard on /dev/loop7\n") != std::string::npos);
}

TEST_CASE("mounts: overlays of the tree's directories", "[mounts]") {
    CHECK(overlay_directories("rw,lowerdir=/a:/b\\:c::/d,upperdir=/u,workdir=/w,index=off") ==
          std::vector<std::string>{"/a", "/b:c", "/d", "/u", "/w"});
    CHECK(overlay_directories("lowerdir+=/a,datadir+=/b") == std::vector<std::string>{"/a", "/b"});
    const auto tree = [](const char *options) {
        return std::vector<parse::Mount>{
            one("40 30 254:0 / / rw - ext4 /dev/vda rw\n"),
            one("42 40 0:51 / /disk rw - tmpfs none rw\n"),
            one("43 41 0:52 / /merged/deep rw - tmpfs none rw\n"),
            one(std::string("41 40 0:50 / /merged rw - overlay overlay rw,") + options + "\n"),
            one("44 40 0:50 /part /part rw - overlay overlay rw,lowerdir=/x\n"),
            one("45 40 0:53 / /upon rw - overlay overlay rw,lowerdir=/merged/l:/disk/l\n")};
    };
    CHECK_FALSE(describe(tree("lowerdir=/a:b,upperdir=/u,workdir=/w"), {}, {}, {}));
    const auto entries = describe(tree("lowerdir=/disk/a,upperdir=/u,workdir=/w"), {}, {}, {});
    REQUIRE(entries);
    Externals externals;
    externals.root = "/bundle";
    const auto plan = plan_mounts(*entries, externals);
    REQUIRE(plan);
    std::string order;
    for (size_t step : plan->attaching)
        order += (*entries)[plan->steps[step].entry].mountpoint() + (plan->steps[step].made_in_place ? "* " : " ");
    CHECK(order.starts_with("/disk /merged* "));
    for (const char *later : {"/upon* ", "/part* ", "/merged/deep "})
        CHECK(order.find(later) != order.npos);
    externals.keys["/merged"] = "x"; // the caller's
    externals.keys["/part"] = externals.keys["/upon"] = "y";
    CHECK(describe(tree("lowerdir=a"), {}, {}, externals));
}

TEST_CASE("mounts: namespaces that are bound to files", "[mounts]") {
    tree::Namespaces namespaces;
    tree::NamespaceInodes root;
    root[tree::NamespaceKind::Net] = 4026532181;
    namespaces.add(root, base::Pid(1));
    const std::vector<parse::Mount> mounts{one("40 30 0:20 / / rw - overlay overlay rw\n"),
                                           one("41 40 0:4 net:[4026532181] /run/netns/x rw - nsfs nsfs rw\n")};
    auto entries = describe(mounts, {}, namespaces, {});
    REQUIRE(entries);
    Externals externals;
    externals.root = "/bundle";
    auto plan = plan_mounts(*entries, externals);
    REQUIRE(plan);
    CHECK(print(*plan, *entries).find("mount /run/netns/x: namespace self/ns/net\n") != std::string::npos);
    auto refused = describe(mounts, {}, {}, {});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message().find("net:[4026532181]") != std::string::npos);
    (*entries)[0].set_ext_key("CRIU:NAMESPACE:../../../etc");
    CHECK(plan_mounts(*entries, externals).error().kind() == base::ErrorKind::BadImage);
}
