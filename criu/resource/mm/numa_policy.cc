#include "criu/resource/mm/numa_policy.hh"

#include "criu/resource/bit_mask.hh"

#include <algorithm>
#include <sys/syscall.h>

namespace resource {
namespace {

constexpr uint64_t kOfAddress = 2; // MPOL_F_ADDR
constexpr size_t kMaskBytes = kMostNodeBytes;

/// Mappings in [first, last) that have a policy.
base::Result<void> ask_modes(compel::Injection &agent, std::span<const parse::Vma> vmas,
                             std::map<uint64_t, NumaPolicy> &found) {
    compel::Batch batch = agent.batch();
    std::vector<uint64_t> modes;
    for (const parse::Vma &vma : vmas) {
        modes.push_back(batch.out(sizeof(uint32_t)));
        batch.call(SYS_get_mempolicy, {modes.back(), 0, 0, vma.start, kOfAddress});
    }
    TRY(agent.run(batch));
    // Kernels without NUMA say ENOSYS, and vsyscall is no mapping: then there is no policy.
    for (size_t i = 0; i < vmas.size(); i++)
        if (batch.result(i) == 0 && batch.value<uint32_t>(modes[i]))
            found[vmas[i].start].mode = batch.value<uint32_t>(modes[i]);
    return {};
}

base::Result<void> ask_nodes(compel::Injection &agent, uint64_t start, NumaPolicy &policy) {
    compel::Batch batch = agent.batch();
    const uint64_t mode = batch.out(sizeof(uint32_t)), mask = batch.out(kMaskBytes);
    batch.call(SYS_get_mempolicy, {mode, mask, kMaskBytes * 8, start, kOfAddress});
    TRY(agent.run(batch));
    if (batch.result(0) < 0)
        return base::fail_sys(static_cast<int>(-batch.result(0)), "get_mempolicy");
    policy.nodes = trim_mask(batch.bytes(mask, kMaskBytes));
    return {};
}

} // namespace

base::Result<std::map<uint64_t, NumaPolicy>> ask_numa_policies(compel::Injection &agent, const tree::TaskFacts &task) {
    constexpr size_t kPerBatch = 500;
    std::map<uint64_t, NumaPolicy> found;
    for (std::span<const parse::Vma> left = task.vmas; !left.empty();
         left = left.subspan(std::min(kPerBatch, left.size())))
        TRY(ask_modes(agent, left.first(std::min(kPerBatch, left.size())), found));
    for (auto &[start, policy] : found)
        TRY(ask_nodes(agent, start, policy));
    return found;
}

/// A machine may lack the nodes: the policy is a matter of speed only. What is there already moves.
void plan_numa_policy(plan::ThreadPlan &plan, const img::vma_entry &vma) {
    constexpr uint64_t kMovePages = 1 << 1; // MPOL_MF_MOVE
    const std::string &nodes = vma.ext().numa_nodes();
    plan.try_call(plan::Stage::Memory, "mbind", SYS_mbind,
                  {vma.start(), vma.end() - vma.start(), vma.ext().numa_mode(), mask_data(plan, nodes),
                   (nodes.size() + 7) / 8 * 64 + 1, kMovePages});
}

} // namespace resource
