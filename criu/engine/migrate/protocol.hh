// What the two sides of a migration say to each other, over one connection.
//
//     source                                            destination
//     Hello, version                    ->
//                                       <-              Hello, version
//     Round, a stream of images         ->                                 (as often as it pays; the tree runs)
//                                       <-              Taken
//     Last, a stream of images          ->                                 (the tree stands still)
//                                       <-              Ready              (it is rebuilt there, up to the last step)
//     Go                                ->
//                                       <-              Running
//
// The destination may say Failed, with a text, in place of any of its words. Until Go is sent a failure, whatever it
// is, leaves the tree running at the source; behind it only the word of the destination decides.
#pragma once

#include "criu/pages/channel.hh"

#include <cstdint>
#include <string>

namespace migrate {

using base::Result;

enum class Word : uint32_t {
    Hello = 0x4d495247, // "GRIM" in memory
    Round = 1,
    Taken,
    Last,
    Ready,
    Go,
    Running,
    Failed
};

inline constexpr uint32_t kVersion = 1;

class Talk {
public:
    /// The channel has to live longer.
    explicit Talk(pages::Channel &channel) : channel_(channel) {}

    Result<void> say(Word word) { return channel_.send_value(static_cast<uint32_t>(word)); }
    /// The other side is not to wait for us.
    Result<void> say_failed(const base::Error &error);
    /// The next word. `timeout_ms`: for it to begin. Errors: what the other side said behind Failed; BadImage for what
    /// is no word; System(ETIMEDOUT, ECONNRESET).
    Result<Word> hear(int timeout_ms);
    /// Errors: as hear(), and for any other word.
    Result<void> expect(Word word, int timeout_ms);

    /// Both are of one version. Errors: Unsupported.
    Result<void> greet(int timeout_ms);
    Result<void> answer_greeting(int timeout_ms);

private:
    Result<void> compare_version(int timeout_ms);
    pages::Channel &channel_;
};

} // namespace migrate
