// Writes files that are complete, in a thread of its own.
//
// A dump of a thousand tasks makes many thousand small files. Creating one takes the kernel as long as several
// questions about a task: another processor does it meanwhile.
#pragma once

#include "base/result.hh"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace image {

class Scribe {
public:
    /// `dir` stays the caller's, open until the scribe is gone.
    explicit Scribe(int dir);
    ~Scribe();
    Scribe(const Scribe &) = delete;
    Scribe &operator=(const Scribe &) = delete;

    /// Takes a file over. Waits where much is to be written already.
    /// Errors: what happened to an earlier file; nothing is written after that.
    base::Result<void> add(std::string name, std::string contents);
    /// Until everything is written. Errors: System naming the file.
    base::Result<void> wait();

private:
    struct File {
        std::string name, contents;
    };
    void work();
    base::Result<void> write(const File &file) const;
    base::Result<void> outcome() const;

    int dir_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<File> queue_; ///< the first one is being written
    size_t bytes_ = 0;       ///< in the queue
    std::optional<base::Error> error_;
    bool done_ = false;
    std::thread thread_;
};

} // namespace image
