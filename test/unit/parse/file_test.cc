// fdinfo, locks, mountinfo, cgroup: files and where they are.
#include "criu/parse/cgroup.hh"
#include "criu/parse/cgroup_properties.hh"
#include "criu/parse/fdinfo.hh"
#include "criu/parse/io_uring.hh"
#include "criu/parse/mountinfo.hh"

#include <catch2/catch.hpp>

using namespace parse;

TEST_CASE("fdinfo: regular file with locks", "[parse]") {
    auto info = parse_fdinfo("pos:\t42\nflags:\t02100001\nmnt_id:\t27\nino:\t10952781\n"
                             "lock:\t1: FLOCK  ADVISORY  WRITE 4987 fe:00:10952781 0 EOF\n"
                             "lock:\t2: POSIX  ADVISORY  READ 4987 fe:00:10952781 10 19\n"
                             "lock:\t3: OFDLCK ADVISORY  WRITE -1 fe:00:10952781 0 EOF\n"
                             "lock:\t4: LEASE  BREAKING  READ 4987 fe:00:10952781 0 EOF\n");
    REQUIRE(info);
    CHECK(info->pos == 42);
    CHECK(info->flags == 02100001);
    CHECK(info->mnt_id == 27);
    CHECK(info->inode == 10952781);
    REQUIRE(info->locks.size() == 4);
    CHECK(info->locks[0].kind == LockKind::Flock);
    CHECK(info->locks[0].access == LockAccess::Write);
    CHECK(info->locks[0].dev_major == 0xfe);
    CHECK(info->locks[1].start == 10);
    CHECK(info->locks[1].end == 19);
    CHECK(info->locks[2].kind == LockKind::Ofd);
    CHECK(info->locks[2].pid == -1);
    CHECK(info->locks[3].breaking);
}

TEST_CASE("fdinfo: event descriptors", "[parse]") {
    auto event = parse_fdinfo("pos:\t0\nflags:\t02\nmnt_id:\t17\nino:\t1038\neventfd-count:              1a\n"
                              "eventfd-id: 1\neventfd-semaphore: 1\n");
    REQUIRE(event);
    CHECK(event->eventfd == EventFdInfo{0x1a, 1, true});

    auto epoll = parse_fdinfo("pos:\t0\nflags:\t02000002\nmnt_id:\t17\n"
                              "tfd:        3 events: 80000019 data:  ffffffffffffff03  pos:5 ino:40e sdev:10\n"
                              "tfd:        4 events:       1d data:                4 \n");
    REQUIRE(epoll);
    REQUIRE(epoll->epoll.size() == 2);
    CHECK(epoll->epoll[0] == EpollTarget{3, 0x80000019, 0xffffffffffffff03, 5, 0x40e, 0x10});
    CHECK(epoll->epoll[1] == EpollTarget{4, 0x1d, 4, 0, 0, 0});

    auto timer = parse_fdinfo("pos:\t0\nflags:\t02\nmnt_id:\t17\nclockid: 1\nticks: 2\nsettime flags: 03\n"
                              "it_value: (6, 999958336)\nit_interval: (5, 6)\n");
    REQUIRE(timer);
    CHECK(timer->timerfd == TimerFdInfo{1, 2, 3, 6, 999958336, 5, 6});

    auto signal = parse_fdinfo("pos:\t0\nflags:\t02\nmnt_id:\t17\nsigmask:\t0000000000004002\n");
    REQUIRE(signal);
    CHECK(signal->sigmask == 0x4002u);

    auto pidfd = parse_fdinfo("pos:\t0\nflags:\t02000002\nmnt_id:\t4\nino:\t4988\nPid:\t4987\nNSpid:\t4987\t3\n");
    REQUIRE(pidfd);
    CHECK(pidfd->pidfd == PidFdInfo{4987, {4987, 3}});
    CHECK(parse_fdinfo("Pid:\t-1\nNSpid:\t-1\n")->pidfd->pid == -1);
}

TEST_CASE("fdinfo: marks with and without handles", "[parse]") {
    auto info = parse_fdinfo("pos:\t0\nflags:\t00\nmnt_id:\t17\n"
                             "inotify wd:1 ino:3c51a sdev:fe00000 mask:3ff ignored_mask:0 fhandle-bytes:8 "
                             "fhandle-type:1 f_handle:1ac5030000000000\n"
                             "inotify wd:b ino:1 sdev:10 mask:2 ignored_mask:4\n");
    REQUIRE(info);
    REQUIRE(info->inotify.size() == 2);
    CHECK(info->inotify[0].sdev == 0xfe00000);
    REQUIRE(info->inotify[0].handle);
    CHECK(info->inotify[0].handle->bytes == std::vector<uint8_t>{0x1a, 0xc5, 3, 0, 0, 0, 0, 0});
    CHECK(info->inotify[1].wd == 11);
    CHECK_FALSE(info->inotify[1].handle);

    auto fan = parse_fdinfo("fanotify flags:200 event-flags:8000\n"
                            "fanotify ino:3c51a sdev:fe00000 mflags:0 mask:8000100 ignored_mask:0 fhandle-bytes:8 "
                            "fhandle-type:1 f_handle:1ac5030000000000\n"
                            "fanotify mnt_id:1b mflags:40 mask:1 ignored_mask:2\n"
                            "fanotify sdev:fe00000 mflags:0 mask:1 ignored_mask:0\n");
    REQUIRE(fan);
    REQUIRE(fan->fanotify);
    CHECK(fan->fanotify->flags == 0x200);
    REQUIRE(fan->fanotify->marks.size() == 3);
    CHECK(fan->fanotify->marks[1].target == FanotifyTarget::Mount);
    CHECK(fan->fanotify->marks[1].mnt_id == 0x1b);
    CHECK(fan->fanotify->marks[2].target == FanotifyTarget::Superblock);

    // A handle whose digits do not match its size, or that is larger than the kernel's largest.
    CHECK_FALSE(
        parse_fdinfo("inotify wd:1 ino:3 sdev:f mask:3 ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:1a\n"));
    CHECK_FALSE(parse_fdinfo(
        "inotify wd:1 ino:3 sdev:f mask:3 ignored_mask:0 fhandle-bytes:ffffffff fhandle-type:1 f_handle:\n"));
}

TEST_CASE("fdinfo: terminals, tun, BPF maps, rings, unknown keys", "[parse]") {
    CHECK(parse_fdinfo("tty-index:\t5\n")->tty_index == 5u);
    CHECK(parse_fdinfo("iff:\ttap0\n")->tun_interface == "tap0");
    auto map = parse_fdinfo("map_type:\t1\nkey_size:\t4\nvalue_size:\t8\nmax_entries:\t16\nmap_flags:\t0x80\n"
                            "map_extra:\t0x0\nmemlock:\t4096\nmap_id:\t12\nfrozen:\t1\n");
    REQUIRE(map);
    CHECK(map->bpf_map == BpfMapInfo{1, 4, 8, 16, 0x80, 12, 0, 4096, true});
    auto ring = parse_fdinfo("pos:\t0\nSqMask:\t0x7\nSqHead:\t1\nUserFiles:\t0\nPid:\tx\n");
    REQUIRE(ring);
    CHECK(ring->io_uring.size() == 4);
    CHECK_FALSE(ring->pidfd);
    const std::vector<std::string> lines{"SqMask:\t0x7",
                                         "SqHead:\t3",
                                         "SqTail:\t4",
                                         "CachedSqHead:\t3",
                                         "CqMask:\t0xf",
                                         "CachedCqTail:\t2",
                                         "CQEs:\t1",
                                         "    0: user_data:100, res:0, flag:0",
                                         "SqThread:\t-1",
                                         "UserFiles:\t0",
                                         "UserBufs:\t2",
                                         "    0: 0x7f00001000/8192",
                                         "    1: <none>",
                                         "PollList:",
                                         "  op=22, task_works=0",
                                         "CqOverflowList:",
                                         "NAPI:\tdisabled"};
    auto uring = parse_io_uring(lines);
    REQUIRE(uring);
    CHECK(*uring == IoUringInfo{.sq_mask = 7,
                                .cq_mask = 15,
                                .sq_tail = 4,
                                .submitted = 3,
                                .completed = 2,
                                .polls = 1,
                                .buffers = {{0x7f00001000, 8192}, {}}});
    CHECK_FALSE(parse_io_uring(std::vector<std::string>{"UserBufs:\t1", "    0: x"}));
    auto other = parse_fdinfo("pos:\t0\nbrand-new:\t17\n");
    REQUIRE(other);
    CHECK(other->other.at(0) == std::pair<std::string, std::string>{"brand-new", "17"});
    CHECK_FALSE(parse_fdinfo("pos:\tx\n"));
}

TEST_CASE("locks: waiters and locks without inode", "[parse]") {
    auto locks = parse_locks("1: POSIX  ADVISORY  WRITE 4987 fe:00:10952781 0 EOF\n"
                             "1: -> POSIX  ADVISORY  WRITE 4988 fe:00:10952781 128 255\n"
                             "2: LEASE  ACTIVE    READ 4987 <none>:0 0 EOF\n");
    REQUIRE(locks);
    CHECK_FALSE(locks->at(0).blocked);
    CHECK(locks->at(1).blocked);
    CHECK(locks->at(1).end == 255);
    CHECK_FALSE(locks->at(2).has_inode);
    CHECK_FALSE(parse_locks("1: POSIX ADVISORY MAYBE 1 0:0:0 0 EOF\n"));
}

TEST_CASE("mountinfo: optional fields and escapes", "[parse]") {
    auto mounts = parse_mountinfo("22 27 0:21 / /proc rw,relatime - proc proc rw\n"
                                  "36 35 98:0 /mnt1 /a\\040b rw,noatime shared:5 master:1 propagate_from:2 - ext3 "
                                  "/dev/ro\\134ot rw,errors=continue\n"
                                  "37 35 0:40 / /u rw unbindable future:9 - fuse.sshfs  rw,user_id=0\n");
    REQUIRE(mounts);
    CHECK((*mounts)[0].fs_type == "proc");
    CHECK((*mounts)[0].shared == 0);
    const Mount &m = (*mounts)[1];
    CHECK(m.id == 36);
    CHECK(m.parent_id == 35);
    CHECK(m.dev_major == 98);
    CHECK(m.root == "/mnt1");
    CHECK(m.mount_point == "/a b");
    CHECK(m.options == "rw,noatime");
    CHECK(m.shared == 5);
    CHECK(m.master == 1);
    CHECK(m.propagate_from == 2);
    CHECK(m.source == "/dev/ro\\ot");
    CHECK(m.super_options == "rw,errors=continue");
    CHECK((*mounts)[2].unbindable);
    CHECK((*mounts)[2].source.empty());
    CHECK((*mounts)[2].fs_type == "fuse.sshfs");
    CHECK_FALSE(parse_mountinfo("22 27 0:21 / /proc rw,relatime\n"));
    CHECK_FALSE(parse_mountinfo("22 27 0:21 / /proc rw shared:x - a b c\n"));
}

TEST_CASE("properties of control groups: controllers, strategies, names", "[parse]") {
    auto all =
        parse_cgroup_properties("\"cpu\":\n - \"strategy\": \"replace\"\n - \"properties\": [\"cpu.shares\", \"a b\"]\n"
                                "\"\":\n - \"properties\": []\n");
    REQUIRE(all);
    REQUIRE(all->size() == 2);
    CHECK((*all)[0] == CgroupProperties{"cpu", {"cpu.shares", "a b"}, true});
    CHECK((*all)[1] == CgroupProperties{"", {}, false});
    CHECK_FALSE(parse_cgroup_properties("- \"properties\": []\n"));
    CHECK_FALSE(parse_cgroup_properties("\"cpu\":\n - \"strategy\": \"other\"\n"));
    CHECK_FALSE(parse_cgroup_properties("cpu:\n"));
    CHECK_FALSE(parse_cgroup_properties("\"cpu\":\n - \"properties\": [\"x\"\n"));
}

TEST_CASE("cgroup: both versions", "[parse]") {
    auto groups = parse_cgroup("9:name=systemd:/\n3:cpu,cpuacct:/a:b\n0::/user.slice (deleted)\n");
    REQUIRE(groups);
    CHECK((*groups)[0].controllers == std::vector<std::string>{"name=systemd"});
    CHECK((*groups)[1].controllers == std::vector<std::string>{"cpu", "cpuacct"});
    CHECK((*groups)[1].path == "/a:b");
    CHECK((*groups)[2].controllers.empty());
    CHECK((*groups)[2].path == "/user.slice (deleted)");
    CHECK_FALSE(parse_cgroup("x:y:z\n"));
}
