// The agent's machine code, as linked by compel/meson.build.
#pragma once

#include "agent/contract.hh"
#include "base/ids.hh"

#include <cstddef>
#include <cstring>
#include <span>

namespace compel {

/// The whole blob; position independent, read-only, starts with an agent::BlobHeader.
std::span<const std::byte> agent_blob();

/// Bytes of its pages.
inline uint64_t agent_code_size() {
    return base::page_up(agent_blob().size());
}

inline agent::BlobHeader agent_header() {
    agent::BlobHeader header;
    std::memcpy(&header, agent_blob().data(), sizeof header);
    return header;
}

} // namespace compel
