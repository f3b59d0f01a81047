// Raw bytes behind an entry: how many there are is said by fields of the entry's message.
#pragma once

#include "base/result.hh"
#include "criu/image/byte_source.hh"
#include "criu/image/registry.hh"

#include <google/protobuf/message.h>

namespace image {

struct PayloadShape {
    uint64_t size = 0;   ///< bytes that mean something
    uint64_t stored = 0; ///< bytes in the file, padding included
};

/// Size of the payload of the entry `message`, whose payload begins at `offset`. `message` has the type that belongs to
/// `payload`. The caller compares the result with the size of the file.
/// Errors: BadImage if a queue of messages runs over the end.
base::Result<PayloadShape> payload_shape(Payload payload, const google::protobuf::Message &message, ByteSource &source,
                                         uint64_t offset);

constexpr uint64_t kIpcShmAlign = 4;
constexpr uint64_t kIpcSemAlign = 8;
constexpr uint64_t kIpcMsgAlign = 8;
constexpr uint64_t align_up(uint64_t n, uint64_t align) {
    return (n + align - 1) & ~(align - 1);
}

} // namespace image
