#include "criu/pages/container_stream.hh"
#include "criu/pages/stream_seal.hh"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <map>
#include <set>

namespace pages {
namespace stream {

bool is_file_name(const std::string &name) {
    constexpr std::string_view kFirst = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    const auto allowed = [&](char c) { return kFirst.find(c) != kFirst.npos || c == '-' || c == '.' || c == '+'; };
    return !name.empty() && name.size() <= kMostName && kFirst.find(name[0]) != kFirst.npos && name != "parent" &&
           std::ranges::all_of(name, allowed);
}

} // namespace stream

namespace {

using stream::Header;
using stream::Kind;

class ContainerStream final : public ImageStream {
public:
    ContainerStream(stream::Line &line, std::optional<stream::Seal> seal) : line_(line), seal_(std::move(seal)) {}

    Result<void> write(const std::string &name, uint64_t offset, std::span<const std::byte> bytes) override {
        const uint32_t file = TRY(number_of(name));
        while (!bytes.empty()) {
            const auto some = bytes.first(std::min<size_t>(bytes.size(), stream::kMostBytes));
            TRY(put(Kind::Contents, file, offset, some));
            offset += some.size();
            bytes = bytes.subspan(some.size());
        }
        return {};
    }

    Result<void> end_file(const std::string &name, uint64_t size) override {
        TRY(put(Kind::FileEnd, TRY(number_of(name)), size, {}));
        ended_.insert(name);
        return {};
    }

    bool has_file(const std::string &name) const override { return ended_.contains(name); }

    Result<void> finish() override { return put(Kind::End, static_cast<uint32_t>(files_.size()), records_, {}); }

private:
    Result<uint32_t> number_of(const std::string &name) {
        const auto [file, fresh] = files_.try_emplace(name, static_cast<uint32_t>(files_.size()));
        if (!fresh)
            return file->second;
        if (!stream::is_file_name(name))
            return base::unsupported(fmt::format("a stream of images cannot hold a file called {}", name));
        TRY(put(Kind::Begin, file->second, 0, std::as_bytes(std::span(name))));
        return file->second;
    }

    Result<void> put(Kind kind, uint32_t file, uint64_t offset, std::span<const std::byte> bytes) {
        Header header{static_cast<uint32_t>(kind), static_cast<uint32_t>(bytes.size()), file, 0, offset};
        if (seal_) {
            header.bytes += stream::kTagBytes;
            sealed_.resize(header.bytes);
            TRY(seal_->close(records_, header, bytes, sealed_));
            bytes = sealed_;
        }
        records_++;
        return line_.write(std::as_bytes(std::span(&header, 1)), bytes);
    }

    stream::Line &line_;
    std::optional<stream::Seal> seal_;
    std::vector<std::byte> sealed_;
    std::map<std::string, uint32_t> files_;
    std::set<std::string> ended_;
    uint64_t records_ = 0;
};

} // namespace

Result<std::unique_ptr<ImageStream>> container_stream(stream::Line &line, std::span<const std::byte> key) {
    stream::Head head{};
    std::memcpy(head.magic, stream::kMagic, sizeof head.magic);
    head.version = stream::kVersion;
    std::optional<stream::Seal> seal;
    if (!key.empty()) {
        head.flags = stream::kEncrypted;
        TRY(stream::make_salt(head));
        seal = TRY(stream::Seal::derive(key, head));
    }
    TRY(line.write(std::as_bytes(std::span(&head, 1)), {}));
    return std::make_unique<ContainerStream>(line, std::move(seal));
}

} // namespace pages
