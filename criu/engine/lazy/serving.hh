// The serving process: threads that answer faults, and one that brings what nobody has asked for yet.
#pragma once

#include "base/log.hh"
#include "criu/engine/lazy/journal.hh"
#include "criu/engine/lazy/process.hh"
#include "criu/engine/lazy/saved_memory.hh"

#include <deque>
#include <functional>
#include <memory>
#include <mutex>

namespace lazy {

/// A process as it was when its descriptor came.
struct Begun {
    int fd = -1;
    uint32_t image = 0;
    Missing missing;
};

/// All processes, and all that changes them. The order of messages is that of the journal.
class Processes {
public:
    Processes(const std::vector<Begun> &begun, Journal &journal);

    /// Books what the journal tells: a predecessor has read it. Whoever waited for it asks again.
    void replay();
    /// Reads one message of a process and books it. The address of a fault, if it was one.
    Result<std::optional<uint64_t>> read_message(size_t index);

    size_t size();
    Process &at(size_t index);
    /// It needs nothing more: whoever touches it from here on gets the kernel's own pages. Its descriptor is closed.
    void finish(size_t index);
    bool is_finished(size_t index);
    bool all_finished();
    /// To be told of a new process: its index.
    std::function<void(size_t)> on_new;
    /// What is missing is never to be read as zero: whoever touches it from now on ends by SIGBUS, where the kernel
    /// can.
    void poison_all();

private:
    struct Known {
        Process process;
        bool finished = false;
        Known(int fd, uint32_t image, Missing missing) : process(fd, image, std::move(missing)) {}
    };
    void book(const Journal::Entry &entry);

    Journal &journal_;
    std::mutex reading_; ///< messages are read one at a time
    std::mutex mutex_;   ///< of the list
    std::deque<Known> known_;
};

class Serving {
public:
    Serving(Processes &processes, const SavedMemory &saved, Journal &journal)
        : processes_(processes), saved_(saved), journal_(journal) {}

    /// Answers until every process is complete. `meanwhile` is called now and then by this thread; what it returns ends
    /// the serving if it is an error.
    /// Errors: pages that cannot be had; those of `meanwhile`.
    Result<void> run(const std::function<Result<void>()> &meanwhile);

private:
    void answer_faults();
    void bring_rest();
    Result<void> bring(size_t index, Flight *flight);
    void watch(size_t index);
    void fail(base::Error error);
    bool ends() { return over_.load(std::memory_order_relaxed); }

    Processes &processes_;
    const SavedMemory &saved_;
    Journal &journal_;
    base::UniqueFd epoll_;
    std::atomic<bool> over_{false};
    std::atomic<uint64_t> faults_{0};
    std::mutex mutex_;
    std::optional<base::Error> error_;
};

} // namespace lazy
