#include "criu/crit/image_json.hh"

#include "criu/crit/payload_json.hh"
#include "criu/image/entry_reader.hh"
#include "ghost-file.pb.h"

#include <filesystem>
#include <fmt/format.h>
#include <memory>
#include <nlohmann/json.hpp>

namespace crit {
namespace {

using google::protobuf::Message;
using image::EntryReader;
using image::ImageInfo;
using image::ImageKind;
using image::Payload;

const char *raw_contents(ImageKind kind) {
    switch (kind) {
    case ImageKind::Pages:
        return "pages of memory";
    case ImageKind::Ifaddr:
        return "addresses of network interfaces, as `ip address save` writes them";
    case ImageKind::Route:
    case ImageKind::Route6:
        return "routes, as `ip route save` writes them";
    case ImageKind::Rule:
        return "routing rules, as `ip rule save` writes them";
    case ImageKind::Iptables:
    case ImageKind::Ip6tables:
        return "text, as `iptables-save` prints it";
    case ImageKind::Nftables:
        return "text, as `nft list ruleset` prints it";
    case ImageKind::TmpfsImg:
    case ImageKind::TmpfsDev:
        return "a gzip-compressed tar archive of a tmpfs";
    case ImageKind::NetnfCt:
    case ImageKind::NetnfExp:
        return "netlink messages of connection tracking";
    default:
        return nullptr;
    }
}

base::Result<EntryReader> open_reader(image::ByteSource &source, const std::string &name) {
    auto reader = EntryReader::open(source, name);
    auto known = image::match_image_name(std::filesystem::path(name).filename().string());
    const char *raw = known ? raw_contents(known->kind) : nullptr;
    if (!reader && raw)
        return base::bad_image(fmt::format("{}: is a raw image ({}): {}, without entries to show", name,
                                           image::image_info(known->kind).name, raw));
    return reader;
}

bool is_chunk(const Message &message) {
    return message.GetDescriptor() == img::ghost_chunk_entry::descriptor();
}

/// A sparse ghost's first entry has no bytes of its own.
bool has_payload(const ImageInfo &info, const Message &message) {
    if (info.payload != Payload::Ghost)
        return info.payload != Payload::None;
    return is_chunk(message) || !static_cast<const img::ghost_file_entry &>(message).chunks();
}

base::Result<Json> entry_to_json(EntryReader &reader, const Message &message, const image::EntryPlace &place,
                                 Values values, Payloads payloads) {
    const ImageInfo &info = reader.info();
    Json entry = message_to_json(message, values);
    bool wanted = has_payload(info, message) && (payloads == Payloads::Full || info.payload != Payload::Ghost);
    if (!wanted)
        return entry;
    auto bytes = TRY(reader.load_payload(place));
    std::string_view view(reinterpret_cast<const char *>(bytes.data()), bytes.size());
    if (payloads == Payloads::Full)
        entry["extra"] = TRY(payload_to_json(info.payload, message, view));
    else
        entry["extra"] = TRY(payload_summary(info.payload, message, view));
    return entry;
}

void put_word(std::string &out, uint32_t word) {
    out.append(reinterpret_cast<const char *>(&word), sizeof word);
}

void put_head(std::string &out, const ImageInfo &info) {
    if (info.head == image::Head::Common)
        put_word(out, image::kCommonWord);
    if (info.head == image::Head::Service)
        put_word(out, image::kServiceWord);
    put_word(out, info.magic);
}

base::Result<std::string> chunk_payload(const Message &message, const Json &extra) {
    // As a dense ghost has no length of its own, its reading of "extra" serves for chunks too.
    std::string bytes = TRY(json_to_payload(Payload::Ghost, img::ghost_file_entry::default_instance(), extra));
    uint64_t length = static_cast<const img::ghost_chunk_entry &>(message).len();
    if (bytes.size() != length)
        return base::fail(base::ErrorKind::Usage, fmt::format("has {} bytes, but len is {}", bytes.size(), length));
    return bytes;
}

base::Result<void> encode_entry(std::string &out, const ImageInfo &info, Message &message, Json entry) {
    Json extra;
    if (auto found = entry.find("extra"); entry.is_object() && found != entry.end()) {
        extra = std::move(*found);
        entry.erase(found);
    }
    TRY(json_to_message(entry, message));
    std::string bytes = message.SerializeAsString();
    if (bytes.size() > image::kMaxEntry)
        return base::fail(base::ErrorKind::Usage, "too large for an image");
    put_word(out, static_cast<uint32_t>(bytes.size()));
    out += bytes;
    if (is_chunk(message))
        out += TRY_CTX(chunk_payload(message, extra), "extra");
    else if (has_payload(info, message) || !extra.is_null())
        out += TRY_CTX(json_to_payload(info.payload, message, extra), "extra");
    return {};
}

/// The message of the entry at `index`; a ghost goes on with chunks.
base::Result<std::unique_ptr<Message>> new_message(const ImageInfo &info, size_t index, bool chunks) {
    if (info.payload == Payload::Ghost && index > 0) {
        if (!chunks)
            return base::fail(base::ErrorKind::Usage, "a ghost file without chunks has one entry");
        return std::make_unique<img::ghost_chunk_entry>();
    }
    image::Prototype prototype = index == 0 && info.first_entry ? info.first_entry : info.entry;
    return std::unique_ptr<Message>(prototype().New());
}

} // namespace

base::Result<Json> decode_image(image::ByteSource &source, const std::string &name, Values values, Payloads payloads) {
    EntryReader reader = TRY(open_reader(source, name));
    Json entries = Json::array();
    while (true) {
        std::unique_ptr<Message> message(reader.next_prototype().New());
        auto place = TRY(reader.next(*message));
        if (!place)
            break;
        entries.push_back(TRY(entry_to_json(reader, *message, *place, values, payloads)));
    }
    Json json = Json::object();
    json["magic"] = std::string(reader.info().name);
    json["entries"] = std::move(entries);
    return json;
}

base::Result<Json> describe_image(image::ByteSource &source, const std::string &name) {
    EntryReader reader = TRY(open_reader(source, name));
    uint64_t count = 0;
    while (true) {
        std::unique_ptr<Message> message(reader.next_prototype().New());
        if (!TRY(reader.next(*message)))
            break;
        count++;
    }
    Json json = Json::object();
    json["magic"] = std::string(reader.info().name);
    json["count"] = reader.info().first_entry && count ? count - 1 : count;
    return json;
}

base::Result<std::string> encode_image(const Json &json) {
    if (!json.is_object() || !json.contains("magic") || !json["magic"].is_string() || !json.contains("entries") ||
        !json["entries"].is_array())
        return base::fail(base::ErrorKind::Usage, "not an image in JSON: needs \"magic\" and a list of \"entries\"");
    const ImageInfo *info = image::find_image_by_name(json["magic"].get_ref<const std::string &>());
    if (!info || !info->entry)
        return base::fail(base::ErrorKind::Usage, fmt::format("no image of entries is called '{}'",
                                                              json["magic"].get_ref<const std::string &>()));
    std::string out;
    put_head(out, *info);
    bool chunks = false;
    for (size_t i = 0; i < json["entries"].size(); i++) {
        auto message = TRY_CTX(new_message(*info, i, chunks), fmt::format("entry {}", i));
        TRY_CTX(encode_entry(out, *info, *message, json["entries"][i]), fmt::format("entry {}", i));
        if (const auto *ghost = dynamic_cast<const img::ghost_file_entry *>(message.get()))
            chunks = ghost->chunks();
    }
    return out;
}

} // namespace crit
