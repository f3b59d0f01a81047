#include "criu/engine/migrate/rounds.hh"

#include <algorithm>
#include <fmt/format.h>

namespace migrate {
namespace {

constexpr unsigned kMost = 12;
// What a stall takes beside the memory: stopping, facts, the restore on the other side.
constexpr uint64_t kRestUs = 60'000;

} // namespace

void Rounds::add(const RoundFigures &round) {
    before_ = last_;
    last_ = round;
    count_++;
    if (round.us)
        bytes_per_us_ = std::max(bytes_per_us_, static_cast<double>(round.bytes) / static_cast<double>(round.us));
}

uint64_t Rounds::expected_stall_us() const {
    if (count_ < 2 || bytes_per_us_ == 0)
        return 0;
    // What a round sends was written while the one before it went on: the last one will find as much by the time.
    const double written_per_us =
        static_cast<double>(last_.bytes) / static_cast<double>(std::max<uint64_t>(before_.us, 1));
    const double next = written_per_us * static_cast<double>(last_.us);
    return last_.frozen_us + kRestUs + static_cast<uint64_t>(next / bytes_per_us_);
}

std::string Rounds::enough() const {
    if (count_ < 2)
        return {};
    if (const uint64_t stall = expected_stall_us(); stall <= most_stall_us_)
        return fmt::format("the tree will stand for about {} ms", stall / 1000);
    if (last_.bytes * 10 >= before_.bytes * 8)
        return "what is written meanwhile does not get less";
    if (count_ >= kMost)
        return fmt::format("{} rounds are enough", kMost);
    return {};
}

} // namespace migrate
