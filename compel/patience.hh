// Looking again and again before going to sleep. A task that was told to do something mostly answers within
// microseconds, while waking up a processor that has gone idle takes a hundred of them, in a virtual machine more: with
// a dozen answers to wait for this was a quarter of the time that a small task takes.
#pragma once

#include <sched.h>

namespace compel {

class Patience {
public:
    /// Whether to look once more. Lets others run in between, who may be what is waited for.
    bool lasts() {
        if (looks_++ > 0)
            sched_yield();
        return looks_ <= kLooks;
    }

private:
    static constexpr int kLooks = 200; // about 0.1 ms
    int looks_ = 0;
};

} // namespace compel
