// How far a command has come, for whoever shows it. Several processes may count: it lies in memory that they share.
#pragma once

#include <atomic>
#include <cstdint>

namespace engine {

struct Progress {
    enum class Tree : uint32_t { Unknown, Runs, Stands };

    std::atomic<Tree> tree{Tree::Unknown};
    std::atomic<uint32_t> round{0};          ///< of copying while the tree runs; 0: none
    std::atomic<uint64_t> total{0}, done{0}; ///< bytes of memory of this round, as far as they are known
    std::atomic<uint64_t> written{0};        ///< bytes that the tree wrote during the last round
    std::atomic<uint64_t> stall_us{0};       ///< how long the tree will stand, as far as can be told; 0: it cannot
};
static_assert(std::atomic<uint64_t>::is_always_lock_free, "processes share it");

// `progress` is null where nobody watches.

inline void expect_bytes(Progress *progress, uint64_t bytes) {
    if (progress)
        progress->total.fetch_add(bytes, std::memory_order_relaxed);
}
inline void count_bytes(Progress *progress, uint64_t bytes) {
    if (progress)
        progress->done.fetch_add(bytes, std::memory_order_relaxed);
}
/// The bytes from here on are those of another pass over memory, written once and for all.
inline void begin_writing(Progress *progress, Progress::Tree tree) {
    if (!progress)
        return;
    progress->tree = tree;
    progress->round = 0;
    progress->total = 0, progress->done = 0, progress->written = 0;
}
/// ... or copied ahead while the tree runs.
inline void begin_round(Progress *progress) {
    if (!progress)
        return;
    progress->tree = Progress::Tree::Runs;
    progress->round.fetch_add(1, std::memory_order_relaxed);
    progress->total = 0, progress->done = 0;
}

} // namespace engine
