#include "criu/pages/page_client.hh"

#include "base/ids.hh"
#include "criu/pages/connection.hh"

#include <array>
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
    RemoteOutput(Channel &channel, uint64_t object, bool has_parent)
        : channel_(channel), object_(object), has_parent_(has_parent) {}

    std::optional<bool> has_parent() const override { return has_parent_; }

    Result<void> add(const img::pagemap_entry &run) override {
        constexpr uint32_t kOnWire = wire::kParent | wire::kLazy | wire::kPresent;
        const auto flags = static_cast<uint16_t>(image::flags_of(run) & kOnWire);
        return send_message(channel_,
                            wire::make(Command::AddFlagged, flags, image::pages_of(run), run.vaddr(), object_));
    }

    bool has_file() const override { return false; }
    Result<int> file() override { return base::fail(base::ErrorKind::Bug, "a connection is no file of pages"); }
    Result<void> put(std::span<const std::byte> bytes) override { return channel_.send(bytes); }
    Result<void> close() override { return {}; }

private:
    Channel &channel_;
    uint64_t object_;
    bool has_parent_;
};

class PageServerSink final : public PageSink {
public:
    PageServerSink(std::unique_ptr<Channel> channel, Ending ending) : channel_(std::move(channel)), ending_(ending) {
        gather(channel_->fd());
    }

    // The protocol has no room for object_size: the pages of an object tell how far it reaches at least.
    Result<std::unique_ptr<MemoryOutput>> open(ImageKind kind, uint64_t id, uint64_t) override {
        const auto type = kind == ImageKind::Pagemap ? wire::ObjectType::Task : wire::ObjectType::SharedMemory;
        if (id >> 56)
            return base::unsupported(fmt::format("shared memory of the id {} at a page server", id));
        const uint64_t object = wire::pack({type, id});
        const auto has_parent = TRY_CTX(ask<uint8_t>(wire::make(Command::Open2, 0, 0, 0, object)), "page server");
        return std::make_unique<RemoteOutput>(*channel_, object, has_parent != 0);
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
};

} // namespace

std::unique_ptr<PageSink> page_server_sink(std::unique_ptr<Channel> channel, Ending ending) {
    return std::make_unique<PageServerSink>(std::move(channel), ending);
}

} // namespace pages
