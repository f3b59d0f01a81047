// The list of all task resources, in the order in which a restore applies them.
#include "criu/resource/task/resources.hh"

namespace resource {
namespace {

// Strict seccomp comes after the credentials, which need calls that it forbids.
constexpr const ThreadResource *kThreadTable[] = {
    &thread_context::kResource, &scheduling::kResource,      &signal_queues::kPrivate, &children_namespace::kResource,
    &credentials::kResource,    &processor_modes::kResource, &seccomp::kResource};
constexpr const TaskResource *kTaskTable[] = {&signal_actions::kResource, &process_attributes::kResource,
                                              &posix_timers::kResource,   &signal_queues::kShared,
                                              &limits::kResource,         &itimers::kResource};

} // namespace

std::span<const ThreadResource *const> thread_resources() {
    return kThreadTable;
}
std::span<const TaskResource *const> task_resources() {
    return kTaskTable;
}

} // namespace resource
