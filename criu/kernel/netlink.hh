// Just enough netlink to ask a question, to hear whether the kernel understood it, and to read lists.
#pragma once

#include "base/result.hh"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <linux/netlink.h>
#include <string>
#include <string_view>

namespace kernel {

using base::Result;

/// A message under construction.
class Request {
public:
    explicit Request(int type, int flags = 0);
    void append(const void *data, size_t size);
    void attribute(int type, uint32_t value);
    void attribute_text(int type, std::string_view text); ///< with its terminating zero
    void attribute_bytes(int type, std::string_view value);
    size_t begin_nested(int type);
    void end_nested(size_t begin);
    std::string finish() const; ///< bytes with the length filled in

private:
    std::string bytes_;
};

/// Sends one request and waits for its acknowledgement or first answer.
Result<void> netlink_do(int protocol, const Request &request);

/// Sees the body of one answer, behind its nlmsghdr.
using MessageVisitor = std::function<Result<void>(std::string_view)>;
/// Sees one attribute: its type and its value.
using AttributeVisitor = std::function<void(int, std::string_view)>;

/// Sends a dump request that begins with a nlmsghdr to fill in, and reads its answers to the end.
/// Errors: EINTR if what was dumped changed meanwhile.
Result<void> netlink_dump(int protocol, int type, void *request, size_t size, const MessageVisitor &visit);
Result<void> netlink_dump(int protocol, int type, void *request, size_t size);

Result<void> for_each_attribute(std::string_view bytes, const AttributeVisitor &visit);

/// A plain value at the beginning of an attribute, or of a message.
template <class T> T value_of(std::string_view bytes) {
    T value{};
    std::memcpy(&value, bytes.data(), std::min(sizeof value, bytes.size()));
    return value;
}

} // namespace kernel
