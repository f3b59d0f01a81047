#include "criu/pages/page_client.hh"

#include "base/ids.hh"
#include "criu/pages/codec.hh"
#include "criu/pages/connection.hh"

#include <array>
#include <cstring>
#include <fmt/format.h>

namespace pages {

Result<void> send_message(Channel &channel, const wire::Message &message, wire::Form form) {
    return channel.send(TRY(wire::encode(message, form)));
}

Result<std::optional<wire::Message>> receive_message(Channel &channel, std::optional<wire::Form> &form) {
    std::array<std::byte, wire::kLargest> bytes;
    const auto head = std::span(bytes).first<wire::kSmallest>();
    if (!TRY(channel.receive_or_end(head)))
        return std::nullopt;
    if (!form)
        form = wire::form_of(head);
    const auto whole = std::span(bytes).first(wire::size_of(*form));
    TRY(channel.receive(whole.subspan(head.size())));
    return wire::decode(whole, *form);
}

namespace {

using image::ImageKind;
using wire::Command;

class RemoteOutput final : public MemoryOutput {
public:
    /// `packer`: of single pages; null where they are sent as they are.
    RemoteOutput(Channel &channel, uint64_t object, bool has_parent, Packer *packer)
        : channel_(channel), object_(object), has_parent_(has_parent), packer_(packer) {}

    std::optional<bool> has_parent() const override { return has_parent_; }

    Result<void> add(const img::pagemap_entry &run, PageKind kind) override {
        constexpr uint32_t kOnWire = wire::kParent | wire::kLazy | wire::kPresent;
        const auto flags = static_cast<uint16_t>(image::flags_of(run) & kOnWire);
        packs_ = packer_ && flags & wire::kPresent && kind == PageKind::Small;
        return send_message(channel_, wire::make(packs_ ? Command::AddCompressed : Command::AddFlagged, flags,
                                                 image::pages_of(run), run.vaddr(), object_));
    }

    bool has_file() const override { return false; }
    Result<int> file() override { return base::fail(base::ErrorKind::Bug, "a connection is no file of pages"); }
    Result<void> put(std::span<const std::byte> bytes) override {
        return packs_ ? channel_.send(packed(bytes)) : channel_.send(bytes);
    }
    Result<void> close() override { return {}; }

private:
    /// Whole pages as they are sent.
    std::span<const std::byte> packed(std::span<const std::byte> pages) {
        buffer_.resize(pages.size() / base::kPageSize * (sizeof(uint32_t) + base::kPageSize));
        size_t used = 0;
        for (size_t at = 0; at < pages.size(); at += base::kPageSize) {
            const auto room = std::span(buffer_).subspan(used + sizeof(uint32_t));
            const auto size = static_cast<uint32_t>(packer_->pack(pages.subspan(at, base::kPageSize), room));
            std::memcpy(&buffer_[used], &size, sizeof size);
            used += sizeof size + size;
        }
        return std::span(buffer_).first(used);
    }

    Channel &channel_;
    uint64_t object_;
    bool has_parent_;
    Packer *packer_;
    bool packs_ = false; ///< the last run
    std::vector<std::byte> buffer_;
};

class PageServerSink final : public PageSink {
public:
    PageServerSink(std::unique_ptr<Channel> channel, Ending ending, const Compression &how)
        : channel_(std::move(channel)), ending_(ending) {
        if (how.is_on())
            packer_.emplace(how);
        gather(channel_->fd());
    }

    // The protocol has no room for object_size: the pages of an object tell how far it reaches at least.
    Result<std::unique_ptr<MemoryOutput>> open(ImageKind kind, uint64_t id, uint64_t) override {
        const auto type = kind == ImageKind::Pagemap ? wire::ObjectType::Task : wire::ObjectType::SharedMemory;
        if (id >> 56)
            return base::unsupported(fmt::format("shared memory of the id {} at a page server", id));
        const uint64_t object = wire::pack({type, id});
        const auto has_parent = TRY_CTX(ask<uint8_t>(wire::make(Command::Open2, 0, 0, 0, object)), "page server");
        return std::make_unique<RemoteOutput>(*channel_, object, has_parent != 0, packer_ ? &*packer_ : nullptr);
    }

    Result<void> finish() override {
        const auto command = ending_ == Ending::Close ? Command::Close : Command::ForceClose;
        const auto status = TRY_CTX(ask<int32_t>(wire::make(command)), "page server");
        if (status != 0)
            return base::fail(base::ErrorKind::System,
                              fmt::format("the page server could not keep the pages: status {}", status));
        return ending_ == Ending::Close ? channel_->finish() : Result<void>();
    }

private:
    template <class Answer> Result<Answer> ask(const wire::Message &question) {
        TRY(send_message(*channel_, question));
        push(channel_->fd());
        return channel_->receive_value<Answer>();
    }

    std::unique_ptr<Channel> channel_;
    Ending ending_;
    std::optional<Packer> packer_;
};

} // namespace

std::unique_ptr<PageSink> page_server_sink(std::unique_ptr<Channel> channel, Ending ending, const Compression &how) {
    return std::make_unique<PageServerSink>(std::move(channel), ending, how);
}

} // namespace pages
