#include "criu/engine/migrate/protocol.hh"

#include "base/printable.hh"

#include <algorithm>
#include <fmt/format.h>
#include <poll.h>

namespace migrate {
namespace {

constexpr uint32_t kMostText = 4096;

} // namespace

Result<void> Talk::say_failed(const base::Error &error) {
    std::string text = error.message();
    text.resize(std::min<size_t>(text.size(), kMostText));
    TRY(say(Word::Failed));
    TRY(channel_.send_value(static_cast<uint32_t>(text.size())));
    return channel_.send(std::as_bytes(std::span(text)));
}

Result<Word> Talk::hear(int timeout_ms) {
    TRY(pages::wait_ready(channel_.fd(), POLLIN, timeout_ms));
    const auto word = static_cast<Word>(TRY(channel_.receive_value<uint32_t>()));
    if (word != Word::Failed)
        return word;
    const auto size = TRY(channel_.receive_value<uint32_t>());
    if (size > kMostText)
        return base::bad_image("the other side of the migration talks nonsense");
    std::string text(size, '\0');
    TRY(channel_.receive(std::as_writable_bytes(std::span(text))));
    return base::fail(base::ErrorKind::Died, "the other side says: " + base::printable(text));
}

Result<void> Talk::expect(Word word, int timeout_ms) {
    const Word heard = TRY(hear(timeout_ms));
    if (heard != word)
        return base::bad_image(fmt::format("the other side of the migration says {:#x} where it should say {:#x}",
                                           static_cast<uint32_t>(heard), static_cast<uint32_t>(word)));
    return {};
}

Result<void> Talk::compare_version(int timeout_ms) {
    TRY(expect(Word::Hello, timeout_ms));
    const auto version = TRY(channel_.receive_value<uint32_t>());
    if (version != kVersion)
        return base::unsupported(
            fmt::format("the other side migrates by version {}, this one by {}", version, kVersion));
    return {};
}

Result<void> Talk::greet(int timeout_ms) {
    TRY(say(Word::Hello));
    TRY(channel_.send_value(kVersion));
    return compare_version(timeout_ms);
}

Result<void> Talk::answer_greeting(int timeout_ms) {
    TRY(compare_version(timeout_ms));
    TRY(say(Word::Hello));
    return channel_.send_value(kVersion);
}

} // namespace migrate
