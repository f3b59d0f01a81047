// What has to be taken back when an undertaking fails.
#pragma once

#include <functional>
#include <utility>
#include <vector>

namespace base {

class Journal {
public:
    Journal() = default;
    Journal(const Journal &) = delete;
    /// Unless done(): takes everything back, the last first.
    ~Journal() {
        for (auto step = steps_.rbegin(); step != steps_.rend(); ++step)
            (*step)();
    }
    /// `take_back` must not fail loudly: what it undoes may have gone already.
    void note(std::function<void()> take_back) { steps_.push_back(std::move(take_back)); }
    /// All of it stays.
    void done() { steps_.clear(); }

private:
    std::vector<std::function<void()>> steps_;
};

} // namespace base
