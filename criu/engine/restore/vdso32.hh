// The vdso that the kernel has for 32-bit programs.
#pragma once

#include "base/result.hh"

#include <cstdint>
#include <string>

namespace restore {

using base::Result;

struct Vdso32 {
    std::string image;      ///< as it lies in memory
    uint64_t data_size = 0; ///< of the kernel's data, which lie right before it
};

/// A child maps it and reads it. Errors: Unsupported where this kernel runs no 32-bit programs.
Result<Vdso32> read_vdso32();

} // namespace restore
