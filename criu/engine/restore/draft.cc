#include "criu/engine/restore/draft.hh"

#include "criu/engine/restore/file_checks.hh"
#include "criu/engine/restore/namespaces.hh"
#include "criu/engine/restore/number_clerk.hh"

#include "base/both.hh"

#include <algorithm>
#include <fmt/format.h>

namespace restore {
namespace {

Result<std::vector<plan::AddressSpace>> plan_spaces(const plan::Checkpoint &checkpoint, bool vdso_as_memory,
                                                    const OwnMappings &own) {
    std::vector<plan::AddressSpace> spaces(checkpoint.tasks.size());
    std::map<uint32_t, size_t> index;
    for (size_t i = 0; i < checkpoint.tasks.size(); i++) {
        const plan::TaskImage &task = checkpoint.tasks[i];
        index[task.pid] = i;
        if (task.dead())
            continue;
        if (task.memory_of) { // children inherit from whoever has filled it
            index[task.pid] = index.at(task.memory_of);
            continue;
        }
        auto parent = i ? index.find(task.ppid) : index.end();
        plan::AddressSpace *above = parent == index.end() ? nullptr : &spaces[parent->second];
        spaces[i] =
            TRY_CTX(plan::plan_address_space(task, above, vdso_as_memory, own.all), fmt::format("task {}", task.pid));
    }
    return spaces;
}

/// Finds an arena that is free in every task and in us, and puts all regions into it.
Result<plan::Surroundings> plan_surroundings(const plan::Checkpoint &checkpoint,
                                             std::vector<plan::AddressSpace> &spaces, const OwnMappings &own,
                                             const VdsoFit &vdso) {
    plan::Surroundings around;
    std::vector<plan::Range> taken = own.all;
    uint64_t memory = 0;
    for (size_t i = 0; i < spaces.size(); i++) {
        memory = std::max(memory, spaces[i].arena_used);
        for (const img::vma_entry &vma : checkpoint.tasks[i].mm.vmas())
            taken.push_back({vma.start(), vma.end()});
    }
    // The agent of a 32-bit program needs a page below 4 GiB, and so does the program.
    constexpr uint64_t kEndOf32 = 1ull << 32;
    if (std::ranges::any_of(spaces, &plan::AddressSpace::is_32bit))
        taken.push_back({0, kEndOf32});
    const uint64_t room_for_vdso = vdso.in_place ? 0 : plan::Arena::kParkingSize;
    around.arena = TRY(plan::place_arena(std::move(taken), memory + room_for_vdso));
    around.special = own.special;
    around.chain = &checkpoint.chain;
    if (!vdso.in_place) {
        // Right behind the arena, which is as free in all tasks, and stays when the arena goes.
        around.arena.size -= room_for_vdso;
        around.vdso_home = around.arena.end();
        around.vdso_patches = TRY(plan::plan_vdso_patches(vdso.theirs, vdso.ours, around.vdso_home + vdso.ours_offset));
    }
    for (plan::AddressSpace &space : spaces)
        plan::rebase(space, around.arena);
    for (size_t i = 0; i < spaces.size(); i++)
        if (const uint32_t maker = checkpoint.tasks[i].memory_of)
            spaces[i] = spaces[static_cast<size_t>(std::ranges::find(checkpoint.tasks, maker, &plan::TaskImage::pid) -
                                                   checkpoint.tasks.begin())];
    return around;
}

Result<void> check_plan(const Draft &draft, size_t index) {
    const plan::TaskImage &task = draft.checkpoint->tasks[index];
    // The operations that close these count, not their numbers.
    plan::Surroundings around = draft.around;
    around.exe_fd = around.null_fd = around.proc_fd = 0;
    auto program =
        TRY(plan::compile(*draft.checkpoint, task, draft.spaces[index], around, static_cast<uint32_t>(index) << 16));
    for (const plan::Listing &listing : program.listings)
        TRY(plan::validate(listing, around.arena));
    return {};
}

} // namespace

Result<Draft> make_draft(int images_dir_fd, bool shell_job, plan::Haste haste,
                         std::shared_ptr<image::Supplier> supplier) {
    Draft draft;
    draft.checkpoint =
        std::make_unique<plan::Checkpoint>(TRY(plan::load_checkpoint(images_dir_fd, haste, std::move(supplier))));
    draft.topology = TRY(plan::plan_topology(*draft.checkpoint, shell_job));
    resource::KindStates states;
    draft.files = TRY(plan::schedule_files(*draft.checkpoint, states));
    const OwnMappings own = TRY(own_mappings());
    const VdsoFit vdso = TRY(compare_vdso(*draft.checkpoint, own.special));
    TRY(check_32bit_vdsos(*draft.checkpoint));
    draft.spaces = TRY(plan_spaces(*draft.checkpoint, !vdso.in_place, own));
    draft.around = TRY(plan_surroundings(*draft.checkpoint, draft.spaces, own, vdso));
    return draft;
}

Result<void> verify_images(int images_dir_fd, bool shell_job) {
    const Draft draft = TRY(make_draft(images_dir_fd, shell_job, plan::Haste::Yes));
    TRY(check_capabilities(*draft.checkpoint, false));
    TRY(check_groups(*draft.checkpoint));
    TRY(check_namespaces(*draft.checkpoint, {}));
    TRY(check_numbers(*draft.checkpoint));
    auto check_plans = [&]() -> Result<void> {
        for (size_t i = 0; i < draft.spaces.size(); i++)
            if (!draft.checkpoint->tasks[i].dead())
                TRY_CTX(check_plan(draft, i), fmt::format("task {}", draft.checkpoint->tasks[i].pid));
        return {};
    };
    auto check_rest = [&]() -> Result<void> {
        TRY(check_cpu(*draft.checkpoint));
        TRY(check_descriptors(*draft.checkpoint, draft.files));
        return check_files(*draft.checkpoint);
    };
    return base::both(check_rest, check_plans);
}

} // namespace restore
