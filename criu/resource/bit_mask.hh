// Sets of processors and nodes as the kernel takes them: bits in 64-bit words. Images have the bytes up to the last
// that is not zero.
#pragma once

#include "criu/plan/ops.hh"

#include <span>
#include <string>

namespace resource {

inline std::string trim_mask(std::span<const std::byte> mask) {
    std::string bytes(reinterpret_cast<const char *>(mask.data()), mask.size());
    bytes.resize(bytes.find_last_not_of('\0') + 1);
    return bytes;
}

/// Address of the mask among the plan's data, in whole words.
inline uint64_t mask_data(plan::ThreadPlan &plan, const std::string &mask) {
    std::string padded = mask;
    padded.resize((mask.size() + 7) / 8 * 8);
    return plan.data().add(std::as_bytes(std::span(padded)));
}

} // namespace resource
