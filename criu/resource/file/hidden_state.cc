#include "criu/resource/file/hidden_state.hh"

namespace resource {

Result<KernelMemory *> kernel_memory(FileDumpContext &context) {
    auto &memory = context.states.of<std::optional<KernelMemory>>();
    if (!memory)
        memory = TRY(KernelMemory::open());
    return &*memory;
}

void give_kernel_memory(FileDumpContext &context, KernelMemory memory) {
    context.states.of<std::optional<KernelMemory>>() = std::move(memory);
}

} // namespace resource
