#include "criu/crit/payload_json.hh"

#include "criu/crit/message_json.hh"
#include "criu/crit/text_codecs.hh"
#include "criu/image/payload.hh"
#include "ipc-msg.pb.h"
#include "ipc-shm.pb.h"
#include "tcp-stream.pb.h"

#include <cstring>
#include <fmt/format.h>
#include <functional>
#include <nlohmann/json.hpp>

namespace crit {
namespace {

using google::protobuf::Message;
using image::Payload;

std::unexpected<base::Error> wrong(std::string text) {
    return base::fail(base::ErrorKind::Usage, std::move(text));
}

uint32_t word_at(std::string_view bytes, size_t at) {
    uint32_t word = 0;
    std::memcpy(&word, bytes.data() + at, sizeof word);
    return word;
}

/// Calls `each(message, text)` for every message of a System V queue; image::payload_shape() has walked it before.
base::Result<void> walk_queue(std::string_view bytes,
                              const std::function<void(const img::ipc_msg &, std::string_view)> &each) {
    for (size_t at = 0; at + 4 <= bytes.size();) {
        uint32_t length = word_at(bytes, at);
        img::ipc_msg message;
        if (length > bytes.size() - at - 4 || !message.ParseFromArray(bytes.data() + at + 4, static_cast<int>(length)))
            return base::bad_image("not a queue of messages");
        at += 4 + length;
        if (message.msize() > bytes.size() - at)
            return base::bad_image("not a queue of messages");
        each(message, bytes.substr(at, message.msize()));
        at += image::align_up(message.msize(), image::kIpcMsgAlign);
    }
    return {};
}

/// "8KB" if that is exact, otherwise with one decimal.
std::string size_text(uint64_t bytes) {
    constexpr std::string_view kUnits[]{"B", "KB", "MB", "GB", "TB"};
    size_t unit = 0;
    uint64_t scale = 1;
    while (bytes / scale >= 1024 && unit + 1 < std::size(kUnits)) {
        scale *= 1024;
        unit++;
    }
    if (bytes % scale == 0)
        return fmt::format("{}{}", bytes / scale, kUnits[unit]);
    return fmt::format("{:.1f}{}", static_cast<double>(bytes) / static_cast<double>(scale), kUnits[unit]);
}

base::Result<Json> queue_to_json(std::string_view bytes) {
    Json list = Json::array();
    TRY(walk_queue(bytes, [&](const img::ipc_msg &message, std::string_view text) {
        list.push_back(message_to_json(message, Values::Plain));
        list.push_back(base64_encode(text));
    }));
    return list;
}

Json semaphores_to_json(std::string_view bytes) {
    Json list = Json::array();
    for (size_t at = 0; at + 2 <= bytes.size(); at += 2) {
        uint16_t value = 0;
        std::memcpy(&value, bytes.data() + at, sizeof value);
        list.push_back(value);
    }
    return list;
}

base::Result<std::string> json_to_bytes(const Json &extra) {
    if (extra.is_null())
        return std::string();
    if (!extra.is_string())
        return wrong("must be base64");
    return base64_decode(extra.get_ref<const std::string &>());
}

base::Result<std::string> json_to_streams(const Message &message, const Json &extra) {
    const auto &tcp = static_cast<const img::tcp_stream_entry &>(message);
    if (!extra.is_object() && !extra.is_null())
        return wrong("must be an object of inq and outq");
    std::string in, out;
    if (extra.is_object()) {
        in = TRY_CTX(json_to_bytes(extra.value("inq", Json())), "inq");
        out = TRY_CTX(json_to_bytes(extra.value("outq", Json())), "outq");
    }
    if (in.size() != tcp.inq_len() || out.size() != tcp.outq_len())
        return wrong(fmt::format("has {} and {} bytes, but inq_len is {} and outq_len is {}", in.size(), out.size(),
                                 tcp.inq_len(), tcp.outq_len()));
    return in + out;
}

base::Result<std::string> json_to_semaphores(const Json &extra) {
    if (!extra.is_array() && !extra.is_null())
        return wrong("must be a list of values");
    std::string bytes;
    for (const Json &value : extra) {
        if (!value.is_number_unsigned() || value.get<uint64_t>() > UINT16_MAX)
            return wrong("values of semaphores are 16-bit numbers");
        auto word = value.get<uint16_t>();
        bytes.append(reinterpret_cast<const char *>(&word), sizeof word);
    }
    return bytes;
}

base::Result<std::string> json_to_queue(const Message &message, const Json &extra) {
    uint32_t count = static_cast<const img::ipc_msg_entry &>(message).qnum();
    if ((!extra.is_array() && !extra.is_null()) || extra.size() != uint64_t{count} * 2)
        return wrong(fmt::format("must be a list of {} messages, each followed by its text", count));
    std::string bytes;
    for (size_t i = 0; i < extra.size(); i += 2) {
        img::ipc_msg one;
        TRY(json_to_message(extra[i], one));
        std::string text = TRY(json_to_bytes(extra[i + 1]));
        if (text.size() != one.msize())
            return wrong(fmt::format("text of {} bytes, but msize is {}", text.size(), one.msize()));
        std::string packed = one.SerializeAsString();
        auto length = static_cast<uint32_t>(packed.size());
        bytes.append(reinterpret_cast<const char *>(&length), sizeof length);
        bytes += packed + text;
        bytes.append(image::align_up(text.size(), image::kIpcMsgAlign) - text.size(), '\0');
    }
    return bytes;
}

base::Result<std::string> unpadded(Payload payload, const Message &message, const Json &extra) {
    switch (payload) {
    case Payload::None:
        return extra.is_null() ? base::Result<std::string>(std::string()) : wrong("this kind of image has none");
    case Payload::TcpStream:
        return json_to_streams(message, extra);
    case Payload::IpcSem:
        return json_to_semaphores(extra);
    case Payload::IpcMsg:
        return json_to_queue(message, extra);
    case Payload::PipesData:
    case Payload::SkQueue:
    case Payload::BpfmapData:
    case Payload::IpcShm:
    case Payload::Ghost:
        return json_to_bytes(extra);
    }
    return base::fail(base::ErrorKind::Bug, "unknown payload kind");
}

} // namespace

base::Result<Json> payload_to_json(Payload payload, const Message &message, std::string_view bytes) {
    switch (payload) {
    case Payload::None:
        return Json();
    case Payload::TcpStream: {
        size_t in = std::min<size_t>(static_cast<const img::tcp_stream_entry &>(message).inq_len(), bytes.size());
        return Json{{"inq", base64_encode(bytes.substr(0, in))}, {"outq", base64_encode(bytes.substr(in))}};
    }
    case Payload::IpcSem:
        return semaphores_to_json(bytes);
    case Payload::IpcMsg:
        return queue_to_json(bytes);
    case Payload::PipesData:
    case Payload::SkQueue:
    case Payload::BpfmapData:
    case Payload::IpcShm:
    case Payload::Ghost:
        return Json(base64_encode(bytes));
    }
    return base::fail(base::ErrorKind::Bug, "unknown payload kind");
}

base::Result<std::string> payload_summary(Payload payload, const Message &message, std::string_view bytes) {
    uint64_t count = bytes.size();
    if (payload == Payload::IpcShm) // also where the contents are in a pagemap
        count = static_cast<const img::ipc_shm_entry &>(message).size();
    if (payload == Payload::IpcMsg) { // heads of messages count, their lengths and padding do not
        count = 0;
        TRY(walk_queue(
            bytes, [&](const img::ipc_msg &one, std::string_view text) { count += one.ByteSizeLong() + text.size(); }));
    }
    return fmt::format("... <{}>", size_text(count));
}

base::Result<std::string> json_to_payload(Payload payload, const Message &message, const Json &extra) {
    std::string bytes = TRY(unpadded(payload, message, extra));
    image::MemorySource source(std::as_bytes(std::span(bytes)));
    auto shape = image::payload_shape(payload, message, source, 0);
    if (!shape)
        return wrong(shape.error().message());
    if (shape->size != bytes.size())
        return wrong(fmt::format("has {} bytes, but the entry says {}", bytes.size(), shape->size));
    bytes.append(shape->stored - shape->size, '\0');
    return bytes;
}

} // namespace crit
