// Just enough netlink to ask a question and hear whether the kernel understood it.
#pragma once

#include "base/result.hh"

#include <cstddef>
#include <cstdint>
#include <linux/netlink.h>
#include <string>
#include <string_view>

namespace check {

using base::Result;

/// A message under construction.
class Request {
public:
    explicit Request(int type, int flags = 0);
    void append(const void *data, size_t size);
    void attribute(int type, uint32_t value);
    void attribute_text(int type, std::string_view text); ///< with its terminating zero
    size_t begin_nested(int type);
    void end_nested(size_t begin);
    std::string finish() const; ///< bytes with the length filled in

private:
    void attribute_bytes(int type, const void *data, size_t size);
    std::string bytes_;
};

/// Sends one request and waits for its acknowledgement or first answer.
Result<void> netlink_do(int protocol, const Request &request);

/// Sends a dump request that begins with a nlmsghdr to fill in, and reads its answers to the end.
Result<void> netlink_dump(int protocol, int type, void *request, size_t size);

} // namespace check
