// Where the contents of a page lie that the kernel knows by its description (struct page).
#pragma once

#include "criu/kernel/memory/kernel_memory.hh"

namespace resource {

class KernelPages {
public:
    /// Errors: Unsupported where the kernel's layout cannot be found.
    static Result<KernelPages> find(const KernelMemory &memory);

    /// The address of the contents in the kernel.
    uint64_t address(uint64_t page) const;

private:
    uint64_t contents_ = 0;         ///< where the kernel has mapped all memory (page_offset_base)
    uint64_t descriptions_ = 0;     ///< the table of descriptions, in the same order (vmemmap_base)
    uint64_t description_size_ = 0; ///< sizeof(struct page)
};

} // namespace resource
