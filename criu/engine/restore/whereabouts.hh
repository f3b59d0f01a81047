// Where the root task is while it opens the files of the whole tree: of tasks below it, some live in network, ipc and
// mount namespaces of their own, where alone an address or a path means what it says.
#pragma once

#include "criu/engine/restore/context.hh"

namespace restore {

using base::Result;

class Whereabouts {
public:
    /// The process is where the root task belongs.
    static Result<Whereabouts> start(const RestoreContext &context);

    /// Whether there is anywhere else to go.
    bool several() const { return static_cast<bool>(home_net_); }
    /// A namespace that only the root task's can be meant by is home.
    Result<void> go_to(const resource::Place &place);
    /// Goes where the file of that number is to be opened. 0: to the mounts of the root task.
    Result<void> go_to(uint32_t file);
    Result<void> go_home();

private:
    explicit Whereabouts(const RestoreContext &context) : context_(&context) {}
    Result<void> go(uint32_t net, uint32_t ipc, uint32_t mnt);
    Result<void> enter_mounts(uint32_t mnt);

    const RestoreContext *context_;
    base::UniqueFd home_net_, home_ipc_, home_mounts_, home_root_;
    std::map<uint32_t, uint32_t>
        mounts_; ///< mounts of other namespaces than the root's -> the image's number of theirs
    uint32_t net_ = 0, ipc_ = 0, mnt_ = 0; ///< where we are; 0: at home
};

} // namespace restore
