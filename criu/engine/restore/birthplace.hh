// Where a child is born: in the pid namespace, the time namespace and the process group that it can only have by birth.
#pragma once

#include "criu/engine/restore/context.hh"

#include <functional>
#include <linux/sched.h>
#include <vector>

namespace restore {

using base::Result;

/// The order in which the children of a process are forked: helpers first, whose groups others join; those last that
/// are born where somebody else has to be first, or where the process has no way back from.
std::vector<int> in_order_of_birth(const RestoreContext &context, const plan::Node &node);

/// Makes the time namespace of a task's children, where it is none of the task's own; once.
Result<void> make_time_of_children(RestoreContext &context, const plan::Node &node);

/// In the init of a pid namespace: until its parent has attached the mounts that show it.
Result<void> wait_for_mounts(RestoreContext &context, const plan::Node &node);

/// clone3 for a helper of ours, under numbers that nobody of the tree has: `numbers` gives the `skip`th choice, the
/// innermost first; the first `choosable` of them are asked for. Returns as clone3: 0 in the child, -1 with errno.
long clone_helper(clone_args args, size_t choosable, const std::function<std::vector<int32_t>(int32_t skip)> &numbers);

/// A high number that nobody of the tree has in the root task's pid namespace; the `skip`th.
int32_t free_number(const plan::Checkpoint &checkpoint, int32_t skip);

/// How many of the numbers of a process, the innermost first, the caller may choose himself.
size_t choosable(const RestoreContext &context, const plan::Node &child);
/// Whether the tree has a user namespace of its own and lives in the tool's pid namespace: nobody in it may choose
/// numbers.
bool is_numbered_from_outside(const RestoreContext &context);

/// In the parent, around one clone3.
class Birthplace {
public:
    /// Goes where the child is to be born; sets further flags of clone3. Errors: System, BadImage.
    Result<void> go(RestoreContext &context, const plan::Node &child, uint64_t &flags);
    Result<void> come_back(const RestoreContext &context);
    /// The user namespace whose pid namespace the child begins, where the caller lives in another: a midwife has to go
    /// there and make the child, as one of the caller's. 0: none.
    uint32_t owner() const { return owner_; }
    /// Numbers for the midwife.
    static std::vector<int32_t> midwife_numbers(const RestoreContext &context, const plan::Node &here, int32_t skip);
    /// The child is there: what it waits for where it is the init of a pid namespace.
    Result<void> finish(RestoreContext &context, const plan::Node &child);

private:
    Result<void> join_its_group(RestoreContext &context, const plan::Node &here, const plan::Node &child);
    Result<void> enter(RestoreContext &context, const plan::Node &here, const tree::Numbers::Below &home);

    bool away_ = false; ///< children are born in another pid namespace meanwhile
    pid_t group_ = 0;   ///< ours, where we are in another meanwhile
    uint32_t owner_ = 0;
    std::optional<size_t> newborn_; ///< the namespace whose init the child is
};

} // namespace restore
