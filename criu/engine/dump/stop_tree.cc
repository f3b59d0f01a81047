#include "criu/engine/dump/stop_tree.hh"

#include "criu/kernel/put_in.hh"

namespace dump {

Result<compel::FrozenTree> stop_tree(const engine::DumpRequest &request, bool guarded, resource::TimedPolls &polls,
                                     std::optional<kernel::FreezerGroup> &group) {
    compel::FreezeOptions how;
    how.suspend_dispatch = guarded;
    how.put_in = [&] { return kernel::put_in(request.root); };
    how.before_stop = [&](std::span<const base::Pid> threads) { polls.look(threads); };
    if (!request.freezer.empty()) {
        group.emplace(TRY(kernel::FreezerGroup::freeze(
            request.freezer, request.timeout_seconds ? static_cast<int>(request.timeout_seconds) * 1000 : -1)));
        how.before_wait = [&group] { group->thaw(); };
    }
    how.timeout_ms = request.timeout_seconds ? static_cast<int>(request.timeout_seconds) * 1000 : -1;
    return compel::FrozenTree::freeze(request.root, how);
}

} // namespace dump
