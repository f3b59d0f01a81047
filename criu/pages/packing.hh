// A team of threads that compresses pages and writes them to files: see compressing_sink.hh.
#pragma once

#include "base/unique_fd.hh"
#include "criu/image/pagemap.hh"
#include "criu/pages/codec.hh"
#include "criu/pages/image_stream.hh"

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace pages {

/// The contents of one run as they go into the file.
struct Piece {
    std::span<const std::byte> bytes;
    bool aligned = false; ///< begin at a page boundary
    uint64_t offset = 0;
    bool stays = false; ///< is written beside a stream as well
};

/// Some runs and, one after the other, their pages.
struct PackJob {
    std::vector<img::pagemap_entry> runs; ///< with blocks when it is done
    std::vector<bool> huge;               ///< by run: huge pages, which are not compressed
    std::vector<std::byte> bytes;
};

/// A pages file that grows by jobs, in their order.
struct PackFile {
    base::UniqueFd fd;
    ImageStream *stream = nullptr;        ///< takes the bytes instead, one after the other
    std::string name;                     ///< there
    uint64_t end = 0;                     ///< of what has been placed
    size_t begun = 0, placed = 0;         ///< jobs
    size_t unfinished = 0;                ///< jobs that are not written yet
    std::vector<img::pagemap_entry> runs; ///< of all jobs placed
};

/// Whether compressing pays: measured in the beginning, on every other job.
class Trial {
public:
    explicit Trial(Compression::When when) : when_(when) {}
    /// How the next job is handled.
    bool compress_next();
    void took(bool compressed, uint64_t bytes, uint64_t us);

private:
    struct Cost {
        uint64_t bytes = 0, us = 0;
        double per_byte() const { return static_cast<double>(us) / static_cast<double>(bytes + 1); }
    };
    Compression::When when_;
    Cost plain_, packed_;
    bool odd_ = false;
};

class PackTeam {
public:
    explicit PackTeam(const Compression &how);
    ~PackTeam();
    PackTeam(const PackTeam &) = delete;
    PackTeam &operator=(const PackTeam &) = delete;

    /// Takes a job for a file. Waits where all threads are busy. `job` gets the room of one that is done.
    /// Errors: what happened to an earlier job.
    Result<void> submit(std::shared_ptr<PackFile> file, PackJob &job);
    /// Until all jobs of the file are written.
    Result<void> await(const PackFile &file);

private:
    struct Order {
        std::shared_ptr<PackFile> file;
        PackJob job;
        size_t number = 0; ///< among those of the file
    };
    void work();
    /// Compresses the job, gives it its place behind all before it, and writes it there.
    Result<void> handle(Order &order, bool compress, Packer &packer, std::vector<std::byte> &packed);
    /// Places are taken in the order of the jobs; what goes into a stream is written in it too.
    Result<bool> place(Order &order, std::vector<Piece> &pieces);
    void step_on(PackFile &file);

    Compression how_;
    Trial trial_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Order> queue_;
    std::vector<PackJob> spare_;
    std::optional<base::Error> error_;
    bool over_ = false;
    std::vector<std::thread> threads_;
};

} // namespace pages
