// All task resources; each is defined in the file of its name.
#pragma once

#include "criu/resource/resource.hh"

namespace resource {

namespace children_namespace {
extern const ThreadResource kResource;
}
namespace credentials {
extern const ThreadResource kResource;
}
namespace itimers {
extern const TaskResource kResource;
}
namespace limits {
extern const TaskResource kResource;
}
namespace posix_timers {
extern const TaskResource kResource;
}
namespace scheduling {
extern const ThreadResource kResource;
}
namespace signal_actions {
extern const TaskResource kResource;
}
namespace signal_queues {
extern const ThreadResource kPrivate;
extern const TaskResource kShared;
} // namespace signal_queues
namespace thread_context {
extern const ThreadResource kResource;
}
namespace seccomp {
extern const ThreadResource kResource;
}
namespace processor_modes {
extern const ThreadResource kResource;
}
namespace process_attributes {
extern const TaskResource kResource;
}

/// Adds the chain of filters that the thread names. Errors: BadImage for dangling or circular chains.
/// `for_all`: the leader installs them for all threads at once, so that these share them as they did.
Result<void> plan_seccomp_filters(plan::ThreadPlan &, const img::core_entry &, const img::seccomp_entry &,
                                  bool for_all);

/// Attributes of a process that the kernel keeps for each thread: threads have them from the thread that makes them.
/// For one that is made before the leader gets its own.
void plan_inherited_attributes(plan::ThreadPlan &plan, const img::core_entry &leader);

/// Syscall user dispatch of a thread, where it is on; set from outside when the thread has made its last call of ours.
std::optional<compel::SyscallDispatch> read_dispatch(const img::core_entry &core);

} // namespace resource
