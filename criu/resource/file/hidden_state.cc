#include "criu/resource/file/hidden_state.hh"

namespace resource {

Result<const kernel::KernelMemory *> kernel_memory(FileDumpContext &context) {
    auto &memory = context.states.of<std::optional<kernel::KernelMemory>>();
    if (!memory)
        memory = TRY(kernel::KernelMemory::open());
    return &*memory;
}

} // namespace resource
