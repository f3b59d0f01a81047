#include "criu/image/payload.hh"

#include "bpfmap-data.pb.h"
#include "criu/image/entry_reader.hh"
#include "ghost-file.pb.h"
#include "ipc-msg.pb.h"
#include "ipc-sem.pb.h"
#include "ipc-shm.pb.h"
#include "pipe-data.pb.h"
#include "sk-packet.pb.h"
#include "tcp-stream.pb.h"

#include <fmt/format.h>

namespace image {
namespace {

using google::protobuf::Message;

template <class M> const M &as(const Message &message) {
    return static_cast<const M &>(message);
}

base::Result<PayloadShape> exactly(uint64_t size) {
    return PayloadShape{size, size};
}

base::Result<PayloadShape> ipc_shm(const img::ipc_shm_entry &shm) {
    if (shm.in_pagemaps()) // contents are in pagemap-shmem-N
        return PayloadShape{};
    if (shm.size() > UINT64_MAX - kIpcShmAlign)
        return base::bad_image(fmt::format("absurd segment size {}", shm.size()));
    return PayloadShape{shm.size(), align_up(shm.size(), kIpcShmAlign)};
}

/// The queue is a chain of [i32 length, ipc_msg, text padded to 8]; its length is known only by walking it.
base::Result<PayloadShape> ipc_msg_queue(const img::ipc_msg_entry &queue, ByteSource &source, uint64_t offset) {
    uint64_t at = offset;
    for (uint32_t i = 0; i < queue.qnum(); i++) {
        uint32_t length = 0;
        TRY(source.read(at, std::as_writable_bytes(std::span(&length, 1))));
        if (length > kMaxEntry || length > source.size() - at)
            return base::bad_image(fmt::format("message {} of the queue: absurd length {}", i, length));
        std::vector<std::byte> bytes(length);
        TRY(source.read(at + 4, bytes));
        img::ipc_msg message;
        if (!message.ParsePartialFromArray(bytes.data(), static_cast<int>(length)) || !message.IsInitialized())
            return base::bad_image(fmt::format("message {} of the queue is not a valid ipc_msg", i));
        at += 4 + length + align_up(message.msize(), kIpcMsgAlign);
        if (at > source.size())
            return base::bad_image(fmt::format("truncated: message {} of the queue", i));
    }
    return exactly(at - offset);
}

} // namespace

base::Result<PayloadShape> payload_shape(Payload payload, const Message &message, ByteSource &source, uint64_t offset) {
    switch (payload) {
    case Payload::None:
        return PayloadShape{};
    case Payload::PipesData:
        return exactly(as<img::pipe_data_entry>(message).bytes());
    case Payload::SkQueue:
        return exactly(as<img::sk_packet_entry>(message).length());
    case Payload::TcpStream:
        return exactly(uint64_t{as<img::tcp_stream_entry>(message).inq_len()} +
                       as<img::tcp_stream_entry>(message).outq_len());
    case Payload::BpfmapData:
        return exactly(uint64_t{as<img::bpfmap_data_entry>(message).keys_bytes()} +
                       as<img::bpfmap_data_entry>(message).values_bytes());
    case Payload::IpcShm:
        return ipc_shm(as<img::ipc_shm_entry>(message));
    case Payload::IpcMsg:
        return ipc_msg_queue(as<img::ipc_msg_entry>(message), source, offset);
    case Payload::IpcSem: {
        uint64_t bytes = uint64_t{as<img::ipc_sem_entry>(message).nsems()} * sizeof(uint16_t);
        return PayloadShape{bytes, align_up(bytes, kIpcSemAlign)};
    }
    case Payload::Ghost: // a dense ghost is everything to the end; sparse ones go on with chunks
        return exactly(as<img::ghost_file_entry>(message).chunks() ? 0 : source.size() - offset);
    }
    return base::fail(base::ErrorKind::Bug, "unknown payload kind");
}

} // namespace image
