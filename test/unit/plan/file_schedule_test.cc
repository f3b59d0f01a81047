// Which files are opened first, where, and what comes along inside of others.
#include "../image/support.hh"
#include "criu/image/image_writer.hh"
#include "criu/plan/file_schedule.hh"
#include "sk-packet.pb.h"

#include <catch2/catch.hpp>

namespace {

constexpr uint32_t kTable = 1, kRootDirectory = 90, kProgram = 91;

/// A task with files of its own, whose images hold nothing else.
class Images {
public:
    Images() {
        regular(kRootDirectory), regular(kProgram);
        plan::TaskImage task{.pid = 10, .pgid = 10, .sid = 10};
        img::core_entry core;
        core.mutable_tc()->set_task_state(1);
        task.threads.push_back({10, core});
        task.ids.set_files_id(kTable);
        task.fs.set_cwd_id(kRootDirectory), task.fs.set_root_id(kRootDirectory);
        task.mm.set_exe_file_id(kProgram);
        checkpoint_.tasks.push_back(std::move(task));
        checkpoint_.tables[kTable];
    }

    img::file_entry &file(uint32_t id, img::fd_types type) {
        img::file_entry &entry = checkpoint_.files[id];
        entry.set_id(id);
        entry.set_type(type);
        return entry;
    }
    img::reg_file_entry &regular(uint32_t id) { return *file(id, img::REG).mutable_reg(); }
    void holds(uint32_t number, uint32_t id, uint32_t table = kTable) {
        img::fdinfo_entry entry;
        entry.set_fd(number);
        entry.set_id(id);
        checkpoint_.tables[table].push_back(entry);
    }

    base::Result<plan::FileSchedule> schedule() {
        resource::KindStates states;
        return plan::schedule_files(checkpoint_, states);
    }
    std::vector<uint32_t> order() {
        std::vector<uint32_t> ids;
        for (const plan::FileStep &step : test::must(schedule()).early)
            ids.push_back(step.file->id());
        return ids;
    }
    /// A message in the queue of a unix socket, with files on their way.
    void passes(uint32_t socket, std::initializer_list<uint32_t> files) {
        auto writer = test::must(image::ImageDirWriter::open(directory_.fd()));
        img::sk_packet_entry packet;
        packet.set_id_for(socket);
        packet.set_length(1);
        auto &rights = *packet.add_scm();
        rights.set_type(1);
        for (const uint32_t id : files)
            rights.add_rights(id);
        const std::byte data{'x'};
        test::must(writer.add(image::ImageKind::SkQueues, 0, packet, std::span(&data, 1)));
        test::must(writer.finish());
    }

private:
    test::TempDir directory_;
    plan::Checkpoint checkpoint_{.chain = test::must(pages::Chain::open(directory_.fd(), nullptr))};
};

} // namespace

TEST_CASE("network devices are opened first, files of plugins last", "[plan]") {
    Images images;
    images.file(3, img::EXT).mutable_ext()->set_id(3);
    images.file(5, img::INETSK).mutable_isk();
    images.file(7, img::TUNF).mutable_tunf();
    images.holds(0, 3), images.holds(1, 5), images.holds(2, 7);
    CHECK(images.order() == std::vector<uint32_t>{7, 5, kRootDirectory, kProgram, 3});
}

TEST_CASE("a file that nobody needs is not opened", "[plan]") {
    Images images;
    images.regular(4);
    CHECK(images.order() == std::vector<uint32_t>{kRootDirectory, kProgram});
}

TEST_CASE("what is on its way through a socket is opened as well, and what is inside of that", "[plan]") {
    Images images;
    images.file(4, img::UNIXSK).mutable_usk();
    images.regular(8);
    images.holds(0, 4);
    images.passes(4, {8, 4}); // a socket may even wait in its own queue
    const auto schedule = test::must(images.schedule());
    REQUIRE(schedule.early.size() == 4);
    CHECK(schedule.early[0].file->id() == 4);
    CHECK_FALSE(schedule.early[0].carrier);
    CHECK(schedule.early[1].file->id() == 8);
    CHECK(schedule.early[1].carrier == 4u);
    CHECK(plan::describe(schedule.early[1]).find("inside of file 4") != std::string::npos);
}

TEST_CASE("a file on its way that is not in the images is named with its carrier", "[plan]") {
    Images images;
    images.file(4, img::UNIXSK).mutable_usk();
    images.holds(0, 4);
    images.passes(4, {77});
    const auto schedule = images.schedule();
    REQUIRE_FALSE(schedule);
    CHECK(schedule.error().message().find("77") != std::string::npos);
    CHECK(schedule.error().message().find("file 4") != std::string::npos);
}

TEST_CASE("a file lies at its number from the beginning where no other one has it", "[plan]") {
    Images images;
    images.regular(4), images.regular(5), images.regular(6);
    images.holds(0, 4), images.holds(1, 5);
    images.holds(1, 6, kTable + 1); // of another task
    for (const plan::FileStep &step : test::must(images.schedule()).early) {
        CHECK((step.file->id() != 4 || step.home == 0));
        CHECK((step.file->id() != 5 || !step.home));
    }
}

TEST_CASE("a file is opened in the namespaces in which its name means what it says", "[plan]") {
    Images images;
    images.file(4, img::INETSK).mutable_isk()->set_ns_id(12);
    images.regular(5).set_mnt_id(33);
    images.holds(0, 4), images.holds(1, 5);
    const auto schedule = test::must(images.schedule());
    CHECK(schedule.early[0].place == resource::Place{.net = 12});
    CHECK(schedule.early[1].place == resource::Place{.mount = 33});
}

TEST_CASE("what needs the processes of the tree is late", "[plan]") {
    Images images;
    images.file(4, img::PIDFD).mutable_pidfd()->set_nspid(10);
    images.holds(0, 4);
    const auto schedule = test::must(images.schedule());
    REQUIRE(schedule.late.size() == 1);
    CHECK(schedule.late[0].file->id() == 4);
    CHECK(images.order() == std::vector<uint32_t>{kRootDirectory, kProgram});
}
