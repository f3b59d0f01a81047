// System V message queues. The messages are looked at one by one where they lie (MSG_COPY): nothing is taken out.
//
// In the image a queue is followed by its messages, each a length, a message `ipc_msg` of that length, and the bytes,
// padded to 8.
#include "criu/resource/namespace/ipc/ipc.hh"

#include "ipc-msg.pb.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <sys/msg.h>

namespace resource::ipc {
namespace {

constexpr const char *kMessageQueue = "System V message queue";
constexpr size_t kMostBytes = 64u << 20, kAlign = 8; // of one message; far above any msgmax in use

struct Message {
    long type = 0;
    std::vector<char> text;
};

/// The kernel's struct msgbuf with room for any message.
class Buffer {
public:
    explicit Buffer(size_t room) : bytes_(sizeof(long) + room) {}
    void *data() { return bytes_.data(); }
    size_t room() const { return bytes_.size() - sizeof(long); }
    long &type() { return *reinterpret_cast<long *>(bytes_.data()); }
    char *text() { return bytes_.data() + sizeof(long); }

private:
    std::vector<char> bytes_;
};

Result<std::vector<Message>> peek_all(int id, size_t bytes) {
    std::vector<Message> messages;
    Buffer buffer(bytes);
    for (long index = 0;; index++) {
        const ssize_t n = msgrcv(id, buffer.data(), buffer.room(), index, MSG_COPY | IPC_NOWAIT);
        if (n < 0 && errno == ENOMSG)
            return messages;
        if (n < 0)
            return base::fail_sys("look at a message (MSG_COPY)");
        messages.push_back({buffer.type(), {buffer.text(), buffer.text() + n}});
    }
}

std::vector<std::byte> encode(const std::vector<Message> &messages) {
    std::vector<std::byte> out;
    auto append = [&](const void *data, size_t size) {
        const auto *bytes = static_cast<const std::byte *>(data);
        out.insert(out.end(), bytes, bytes + size);
    };
    for (const Message &message : messages) {
        img::ipc_msg head;
        head.set_mtype(static_cast<uint64_t>(message.type));
        head.set_msize(static_cast<uint32_t>(message.text.size()));
        const std::string packed = head.SerializeAsString();
        const auto length = static_cast<uint32_t>(packed.size());
        append(&length, sizeof length);
        append(packed.data(), packed.size());
        append(message.text.data(), message.text.size());
        out.resize(out.size() + (kAlign - message.text.size() % kAlign) % kAlign);
    }
    return out;
}

/// The image's reader has checked lengths and messages (criu/image/payload.cc).
Result<std::vector<Message>> decode(std::span<const std::byte> payload, uint32_t count) {
    std::vector<Message> messages;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t length = 0;
        if (payload.size() < sizeof length)
            return base::bad_image("messages are missing");
        std::memcpy(&length, payload.data(), sizeof length);
        payload = payload.subspan(sizeof length);
        img::ipc_msg head;
        if (length > payload.size() || !head.ParseFromArray(payload.data(), static_cast<int>(length)))
            return base::bad_image("a damaged message");
        payload = payload.subspan(length);
        const size_t padded = (head.msize() + kAlign - 1) / kAlign * kAlign;
        if (head.msize() > kMostBytes || padded > payload.size() || head.mtype() > INT64_MAX || !head.mtype())
            return base::bad_image("an impossible message");
        const auto *text = reinterpret_cast<const char *>(payload.data());
        messages.push_back({static_cast<long>(head.mtype()), {text, text + head.msize()}});
        payload = payload.subspan(padded);
    }
    return messages;
}

Result<void> dump_queue(NamespaceDumpContext &context, uint32_t ns, int id, const msqid_ds &state) {
    img::ipc_msg_entry entry;
    describe(state.msg_perm, id, entry.mutable_desc());
    entry.set_qbytes(static_cast<uint32_t>(state.msg_qbytes));
    const auto messages = TRY_CTX(peek_all(id, state.__msg_cbytes), name_of(kMessageQueue, entry.desc()));
    entry.set_qnum(static_cast<uint32_t>(messages.size()));
    return context.images.add(image::ImageKind::IpcnsMsg, ns, entry, encode(messages));
}

Result<void> set_owner_and_size(int id, const img::ipc_msg_entry &entry) {
    msqid_ds wanted{};
    wanted.msg_perm.uid = entry.desc().uid();
    wanted.msg_perm.gid = entry.desc().gid();
    wanted.msg_perm.mode = static_cast<unsigned short>(entry.desc().mode() & 0777);
    wanted.msg_qbytes = entry.qbytes();
    return msgctl(id, IPC_SET, &wanted) < 0 ? base::fail_sys("set owner and size") : Result<void>();
}

Result<void> create_queue(const img::ipc_msg_entry &entry, std::span<const std::byte> payload) {
    const img::ipc_desc_entry &desc = entry.desc();
    if (desc.id() > INT32_MAX)
        return base::bad_image("an impossible id");
    const auto messages = TRY(decode(payload, entry.qnum()));
    TRY(ask_for_id("msg_next_id", desc.id()));
    const int id = msgget(static_cast<key_t>(desc.key()), creation_flags(desc));
    if (id < 0)
        return base::fail_sys("msgget");
    if (id != static_cast<int>(desc.id()))
        return base::bad_image("another queue has its slot");
    TRY(set_owner_and_size(id, entry));
    for (const Message &message : messages) {
        Buffer buffer(message.text.size());
        buffer.type() = message.type;
        std::ranges::copy(message.text, buffer.text());
        if (msgsnd(id, buffer.data(), message.text.size(), IPC_NOWAIT) < 0)
            return base::fail_sys("put a message back");
    }
    return {};
}

} // namespace

Result<void> dump_messages(NamespaceDumpContext &context, uint32_t ns) {
    msginfo info{};
    const int highest = msgctl(0, MSG_INFO, reinterpret_cast<msqid_ds *>(&info));
    for (int index = 0; index <= highest; index++) {
        msqid_ds state{};
        const int id = msgctl(index, MSG_STAT, &state);
        if (id >= 0)
            TRY(dump_queue(context, ns, id, state));
    }
    return {};
}

Result<void> fill_messages(NamespaceFillContext &context) {
    for (const auto &queue :
         TRY(context.images.read_with_payload<img::ipc_msg_entry>(image::ImageKind::IpcnsMsg, context.id)))
        TRY_CTX(create_queue(queue.message, queue.payload), name_of(kMessageQueue, queue.message.desc()));
    return {};
}

} // namespace resource::ipc
