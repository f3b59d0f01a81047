// Time that passes.
#pragma once

#include <cstdint>
#include <ctime>

namespace base {

/// A clock in microseconds.
inline uint64_t now_us(clockid_t clock = CLOCK_MONOTONIC) {
    timespec t{};
    clock_gettime(clock, &t);
    return static_cast<uint64_t>(t.tv_sec) * 1'000'000 + static_cast<uint64_t>(t.tv_nsec) / 1'000;
}

/// Adds the time of its own life to a sum of microseconds.
class Stopwatch {
public:
    explicit Stopwatch(uint64_t &sum_us) : sum_us_(sum_us), start_(now_us()) {}
    ~Stopwatch() { sum_us_ += now_us() - start_; }
    Stopwatch(const Stopwatch &) = delete;

private:
    uint64_t &sum_us_;
    uint64_t start_;
};

} // namespace base
