// The list of all task resources, in the order in which a restore applies them.
#include "criu/resource/task/resources.hh"

namespace resource {
namespace {

// Strict seccomp comes after the credentials, which need calls that it forbids.
constexpr const ThreadResource *kThreadTable[] = {&kThreadContext, &kScheduling,     &kPrivateSignals,
                                                  &kCredentials,   &kProcessorModes, &kSeccomp};
constexpr const TaskResource *kTaskTable[] = {
    &kSignalActions, &kProcessAttributes, &kPosixTimers, &kSharedSignals, &kLimits, &kItimers};

} // namespace

std::span<const ThreadResource *const> thread_resources() {
    return kThreadTable;
}
std::span<const TaskResource *const> task_resources() {
    return kTaskTable;
}

} // namespace resource
