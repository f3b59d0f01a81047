#include "criu/pages/page_giver.hh"

#include "base/ids.hh"
#include "criu/pages/connection.hh"
#include "criu/pages/page_client.hh"

#include <algorithm>
#include <fmt/format.h>
#include <utility>

namespace pages {
namespace {

using wire::Command;
using wire::Message;

// An answer may be shorter than what was asked for: others wait for theirs meanwhile.
constexpr uint64_t kMostPages = 1024;
constexpr size_t kPiece = 256u << 10;

class Conversation {
public:
    Conversation(Channel &channel, PageGiver &giver) : channel_(channel), giver_(giver), buffer_(kPiece) {}

    /// False behind the last question.
    Result<bool> answer_one() {
        const auto question = TRY(receive_message(channel_, form_));
        if (!question)
            return base::fail(base::ErrorKind::System, "the other end has gone before it had all memory");
        if (question->is(Command::Close) || question->is(Command::ForceClose)) {
            TRY(channel_.send_value<int32_t>(0));
            push(channel_.fd());
            return false;
        }
        if (!question->is(Command::Get))
            return base::bad_image(
                fmt::format("page server: Unknown command {} where pages are given", question->command));
        TRY(give(*question));
        return true;
    }

private:
    Result<void> give(const Message &question) {
        TRY(wire::payload_pages(question));
        const auto pid = static_cast<uint32_t>(question.object);
        uint64_t pages = 0;
        if (std::in_range<int32_t>(question.object))
            pages = TRY(giver_.available(pid, question.address, std::min(question.pages, kMostPages)));
        if (pages == 0)
            return base::bad_image(
                fmt::format("page server: the other end asks for the page at {:#x} of process {}, which "
                            "is not for it",
                            question.address, question.object));
        TRY(send_message(channel_,
                         wire::make(Command::AddFlagged, wire::kPresent, pages, question.address, question.object),
                         *form_));
        uint64_t address = question.address;
        for (uint64_t left = pages * base::kPageSize; left;) {
            const auto piece = std::span(buffer_).first(std::min<uint64_t>(kPiece, left));
            TRY(giver_.read(pid, address, piece));
            TRY(channel_.send(piece));
            address += piece.size(), left -= piece.size();
        }
        push(channel_.fd());
        return {};
    }

    Channel &channel_;
    PageGiver &giver_;
    std::optional<wire::Form> form_;
    std::vector<std::byte> buffer_;
};

} // namespace

Result<void> give_pages(Channel &channel, PageGiver &giver) {
    gather(channel.fd());
    Conversation conversation(channel, giver);
    while (TRY(conversation.answer_one())) {
    }
    return {};
}

} // namespace pages
