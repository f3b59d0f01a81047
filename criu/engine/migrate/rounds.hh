// When to stop copying ahead: a pure decision, out of what the rounds so far took.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace migrate {

struct RoundFigures {
    uint64_t bytes = 0;     ///< of memory that were sent
    uint64_t us = 0;        ///< that sending took, to the answer
    uint64_t frozen_us = 0; ///< that the tree stood
};

class Rounds {
public:
    explicit Rounds(uint64_t most_stall_us) : most_stall_us_(most_stall_us) {}

    void add(const RoundFigures &round);
    /// Why the next round is the last, for the log; empty if one more ahead of it pays.
    std::string enough() const;
    /// How long the tree will stand; 0 before it can be told.
    uint64_t expected_stall_us() const;
    unsigned count() const { return count_; }

private:
    uint64_t most_stall_us_;
    unsigned count_ = 0;
    RoundFigures last_, before_;
    double bytes_per_us_ = 0; ///< of the connection: the best seen
};

} // namespace migrate
