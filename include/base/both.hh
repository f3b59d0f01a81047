// Two pieces of work at once.
#pragma once

#include "base/guarded.hh"

#include <thread>

namespace base {

/// Runs `first` on a thread of its own while `second` runs here; both are over then. Errors: of `first` before
/// `second`.
template <class First, class Second> Result<void> both(First &&first, Second &&second) {
    Result<void> one;
    std::thread worker([&] { one = guarded(first); });
    Result<void> two = guarded(second);
    worker.join();
    return one ? std::move(two) : std::move(one);
}

/// f(i) for every i below `count`, in two halves at once if there are many. Errors: of the first half, or the second.
template <class F> Result<void> for_each_in_halves(size_t count, F &&f) {
    auto stretch = [&](size_t from, size_t to) -> Result<void> {
        for (size_t i = from; i < to; i++)
            if (Result<void> done = f(i); !done)
                return done;
        return {};
    };
    constexpr size_t kMany = 64; // less work than the start of a thread
    if (count < kMany)
        return stretch(0, count);
    return both([&] { return stretch(count / 2, count); }, [&] { return stretch(0, count / 2); });
}

} // namespace base
