// What the serving process has learned of changed mappings, in memory that survives it: another process then knows as
// much (lazy_pages.cc). The kernel writes each message straight into its place here, before the one who changed the
// mappings goes on, so that there is no instant in which only a process that may die knows of it.
#pragma once

#include "base/result.hh"

#include <atomic>
#include <cstdint>
#include <linux/userfaultfd.h>
#include <memory>

namespace lazy {

using base::Result;

class Journal {
public:
    struct Entry {
        uint32_t process;  ///< in the order in which they became known; children of fork follow
        uint32_t finished; ///< 1: it needs nothing more, and its descriptor is closed; no message
        uffd_msg message;
    };

    static Result<Journal> create();

    /// Where the next message goes. It counts when it is committed, and is looked at by a successor all the same.
    Entry &next() { return shared_->entries[shared_->count]; }
    void commit() { shared_->count++; }
    uint64_t count() const { return shared_->count; }
    const Entry &entry(uint64_t i) const { return shared_->entries[i]; }
    bool full() const { return shared_->count + 1 >= kRoom; }

    // What the processes tell each other besides.
    std::atomic<bool> &may_run() { return shared_->may_run; }       ///< the tasks run, or are about to
    std::atomic<bool> &succeeded() { return shared_->succeeded; }   ///< everything is where it belongs
    std::atomic<bool> &hopeless() { return shared_->hopeless; }     ///< what is missing cannot be had any more
    std::atomic<int> &server() { return shared_->server; }          ///< a pidfd in the table that all share
    std::atomic<uint64_t> &transferred() { return shared_->bytes; } ///< to where they were missing

private:
    static constexpr uint64_t kRoom = 1u << 20; ///< 40 MiB that nobody has touched yet
    struct Shared {
        std::atomic<bool> may_run, succeeded, hopeless;
        std::atomic<int> server;
        std::atomic<uint64_t> bytes;
        std::atomic<uint64_t> count;
        Entry entries[kRoom];
    };
    explicit Journal(Shared *shared) : shared_(shared) {}
    Shared *shared_; ///< mapped until the process ends
};

} // namespace lazy
