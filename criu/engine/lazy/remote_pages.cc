#include "criu/engine/lazy/remote_pages.hh"

#include "base/ids.hh"
#include "criu/pages/connection.hh"
#include "criu/pages/page_client.hh"

#include <array>
#include <fmt/format.h>

namespace lazy {

using pages::wire::Command;

RemotePages::RemotePages(std::unique_ptr<pages::Channel> channel) : channel_(std::move(channel)) {
    pages::push(channel_->fd()); // questions are short, and waited for
}

Result<void> RemotePages::read(uint32_t pid, uint64_t address, std::span<std::byte> into) {
    while (!into.empty()) {
        const size_t got = TRY_CTX(ask(pid, address, into), "page server");
        into = into.subspan(got);
        address += got;
    }
    return {};
}

/// Asks, waits for its turn, and takes the answer, which may be of fewer pages.
Result<size_t> RemotePages::ask(uint32_t pid, uint64_t address, std::span<std::byte> into) {
    uint64_t ticket = 0;
    {
        const std::lock_guard order(sending_);
        ticket = next_ticket_++;
        TRY(pages::send_message(*channel_,
                                pages::wire::make(Command::Get, 0, into.size() / base::kPageSize, address, pid)));
    }
    std::unique_lock held(mutex_);
    turn_.wait(held, [&] { return now_ == ticket || broken_; });
    if (broken_)
        return base::fail_sys(EPIPE, "an earlier answer was not understood");
    held.unlock();
    auto got = take_answer(pid, address, into);
    held.lock();
    now_++;
    broken_ = !got;
    turn_.notify_all();
    return got;
}

Result<size_t> RemotePages::take_answer(uint32_t pid, uint64_t address, std::span<std::byte> into) {
    std::array<std::byte, pages::wire::size_of(pages::wire::Form::Wide)> bytes;
    TRY(channel_->receive(bytes));
    const auto answer = pages::wire::decode(bytes, pages::wire::Form::Wide);
    const uint64_t pages = TRY(pages::wire::payload_pages(answer));
    if (!answer.is(Command::AddFlagged) || answer.object != pid || answer.address != address || pages == 0 ||
        pages > into.size() / base::kPageSize)
        return base::bad_image(fmt::format("{} pages at {:#x} of {} come where {} at {:#x} of {} were asked for", pages,
                                           answer.address, answer.object, into.size() / base::kPageSize, address, pid));
    const auto room = into.first(pages * base::kPageSize);
    TRY(channel_->receive(room));
    return room.size();
}

Result<void> RemotePages::finish() {
    TRY(pages::send_message(*channel_, pages::wire::make(Command::Close)));
    const auto status = TRY(channel_->receive_value<int32_t>());
    if (status != 0)
        return base::fail(base::ErrorKind::System, fmt::format("the page server ends with status {}", status));
    return channel_->finish();
}

} // namespace lazy
