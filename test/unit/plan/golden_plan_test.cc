// Images that CRIU 4.2 wrote load, and compile to a plan that keeps its invariants. No kernel is asked, nothing is
// created.
#include "criu/plan/program.hh"
#include "criu/plan/topology.hh"

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <string>

namespace {

plan::Checkpoint load(const std::string &name) {
    base::UniqueFd dir(open((std::string(TEST_GOLDEN) + "/" + name).c_str(), O_RDONLY | O_DIRECTORY));
    auto checkpoint = plan::load_checkpoint(dir.get());
    INFO((checkpoint ? std::string() : checkpoint.error().message()));
    REQUIRE(checkpoint.has_value());
    return std::move(*checkpoint);
}

} // namespace

TEST_CASE("CRIU's sampler compiles to a valid plan") {
    plan::Checkpoint checkpoint = load("sampler");
    REQUIRE(checkpoint.tasks.size() == 5);
    plan::Surroundings around;
    around.chain = &checkpoint.chain;
    auto topology = plan::plan_topology(checkpoint, false);
    REQUIRE(topology.has_value());
    std::map<uint32_t, size_t> index;
    std::vector<plan::AddressSpace> spaces(checkpoint.tasks.size());
    std::vector<plan::Range> taken;
    uint64_t memory = 0;
    for (size_t i = 0; i < checkpoint.tasks.size(); i++) {
        const plan::TaskImage &task = checkpoint.tasks[i];
        index[task.pid] = i;
        if (task.dead())
            continue;
        auto space = plan::plan_address_space(task, i ? &spaces[index.at(task.ppid)] : nullptr);
        REQUIRE(space.has_value());
        spaces[i] = std::move(*space);
        memory = std::max(memory, spaces[i].arena_used);
        for (const img::vma_entry &vma : task.mm.vmas())
            taken.push_back({vma.start(), vma.end()});
    }
    auto arena = plan::place_arena(taken, memory);
    REQUIRE(arena.has_value());
    around.arena = *arena;
    for (size_t i = 0; i < checkpoint.tasks.size(); i++) {
        const plan::TaskImage &task = checkpoint.tasks[i];
        if (task.dead())
            continue;
        plan::rebase(spaces[i], *arena);
        auto program = plan::compile(checkpoint, task, spaces[i], around, 0);
        INFO((program ? std::string() : program.error().message()));
        REQUIRE(program.has_value());
        CHECK(program->listings.size() == task.threads.size());
        for (const plan::Listing &listing : program->listings)
            CHECK(plan::validate(listing, *arena).has_value());
    }
}

TEST_CASE("the sampler's children inherit its memory and its session order") {
    plan::Checkpoint checkpoint = load("sampler");
    auto topology = plan::plan_topology(checkpoint, false);
    REQUIRE(topology.has_value());
    REQUIRE(topology->nodes.size() == 5); // no helper is needed
    CHECK(topology->nodes[0].leads_session);
    auto root = plan::plan_address_space(checkpoint.tasks[0], nullptr);
    REQUIRE(root.has_value());
    size_t inherited = 0;
    for (size_t i = 1; i < checkpoint.tasks.size(); i++) {
        if (checkpoint.tasks[i].dead())
            continue;
        auto child = plan::plan_address_space(checkpoint.tasks[i], &*root);
        REQUIRE(child.has_value());
        for (const plan::Region &region : child->regions)
            inherited += region.inherited;
    }
    CHECK(inherited > 0);
}
