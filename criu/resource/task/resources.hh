// All task resources; each is defined in the file of its name.
#pragma once

#include "criu/resource/resource.hh"

namespace resource {

extern const ThreadResource kThreadContext;
extern const ThreadResource kPrivateSignals;
extern const ThreadResource kScheduling;
extern const ThreadResource kCredentials;
extern const ThreadResource kSeccomp;

/// Adds the chain of filters that the thread names. Errors: BadImage for dangling or circular chains.
Result<void> plan_seccomp_filters(plan::ThreadPlan &, const img::core_entry &, const img::seccomp_entry &);

extern const TaskResource kSignalActions;
extern const TaskResource kSharedSignals;
extern const TaskResource kItimers;
extern const TaskResource kPosixTimers;
extern const TaskResource kLimits;
extern const TaskResource kProcessAttributes;

} // namespace resource
