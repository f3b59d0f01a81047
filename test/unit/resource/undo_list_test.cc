#include "criu/resource/task/undo_list.hh"

#include <catch2/catch.hpp>
#include <cstring>
#include <sys/sem.h>

namespace {

struct Change {
    uint64_t set;
    int number, by;
    bool undone;
    bool operator==(const Change &) const = default;
};

/// The calls of semop(2) that a plan makes.
std::vector<Change> changes(const img::ext_task_core &ext, bool own) {
    plan::Data data(0x10000);
    plan::ThreadPlan plan(data);
    REQUIRE(resource::plan_undo(plan, ext, own).has_value());
    std::vector<Change> found;
    for (const plan::PlannedOp &op : plan.ops()) {
        sembuf change{};
        std::memcpy(&change, data.at(op.args[1].value, sizeof change).data(), sizeof change);
        CHECK((change.sem_flg & IPC_NOWAIT) != 0);
        found.push_back({op.args[0].value, change.sem_num, change.sem_op, (change.sem_flg & SEM_UNDO) != 0});
    }
    return found;
}

img::ext_task_core with(std::vector<int> adjustments) {
    img::ext_task_core ext;
    img::ext_sem_undo *undo = ext.add_sem_undo();
    undo->set_id(7);
    for (const int by : adjustments)
        undo->add_adjustments(by);
    return ext;
}

} // namespace

TEST_CASE("semaphores of the host are taken and given again", "[semaphores]") {
    CHECK(changes(with({1, 0, -2}), false) == std::vector<Change>{{7, 0, -1, true}, {7, 2, 2, true}});
}

TEST_CASE("semaphores of the tree's own keep their values, and are never below them", "[semaphores]") {
    CHECK(changes(with({1, -2}), true) ==
          std::vector<Change>{{7, 0, 1, false}, {7, 0, -1, true}, {7, 1, 2, true}, {7, 1, -2, false}});
}

TEST_CASE("impossible adjustments of semaphores are refused", "[semaphores]") {
    plan::Data data(0x10000);
    plan::ThreadPlan plan(data);
    CHECK_FALSE(resource::plan_undo(plan, with({1 << 20}), false).has_value());
    img::ext_task_core impossible = with({1});
    impossible.mutable_sem_undo(0)->set_id(~0u);
    CHECK_FALSE(resource::plan_undo(plan, impossible, false).has_value());
}
