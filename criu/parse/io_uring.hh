// What fdinfo tells of an io_uring instance (fs lines of FdInfo::io_uring).
#pragma once

#include "criu/parse/result.hh"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace parse {

struct IoUringBuffer {
    uint64_t address = 0;
    uint32_t length = 0;
    bool operator==(const IoUringBuffer &) const = default;
};

struct IoUringInfo {
    uint32_t sq_mask = 0, cq_mask = 0; ///< entries - 1
    uint32_t sq_tail = 0;              ///< of the program
    uint32_t submitted = 0;            ///< the kernel's own count of taken requests
    uint32_t completed = 0;            ///< ... and of completions given
    int32_t thread = -1;               ///< of IORING_SETUP_SQPOLL
    int32_t thread_cpu = -1;
    uint32_t files = 0;                 ///< registered, or places for them
    uint32_t polls = 0, overflows = 0;  ///< requests that wait for readiness; completions without a place
    bool personalities = false;         ///< registered credentials
    std::vector<IoUringBuffer> buffers; ///< registered; length 0: an empty place
    bool operator==(const IoUringInfo &) const = default;
};

Result<IoUringInfo> parse_io_uring(std::span<const std::string> lines);

} // namespace parse
