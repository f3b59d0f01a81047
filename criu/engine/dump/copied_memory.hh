// Memory of a task that was copied while it ran, in a file without a name: what the tool leaves behind when it is
// killed is nothing.
#pragma once

#include "criu/engine/dump/memory.hh"

#include <map>

namespace dump {

/// A file without a name in a folder. Errors: System.
Result<base::UniqueFd> unnamed_file(int folder);

class CopiedMemory {
public:
    static Result<CopiedMemory> open(int folder);

    /// What is held and has not been written since, as far as anybody has said.
    const std::vector<pages::Extent> &valid() const { return valid_; }
    /// Nothing else is valid any more than what of `known` is not in `written`.
    void forget(const std::vector<pages::Extent> &known, const std::vector<pages::Extent> &written);
    /// Copies what of `runs` is not valid and may be read by the process itself. Pages that have gone are left out, a
    /// process that has ended has none. Returns how many were copied. Errors: System of the file.
    Result<uint64_t> copy(base::Pid pid, const std::vector<PageRun> &runs, engine::Progress *progress);

    /// What is held of `extent`, all of which is, goes to `output`, as MemoryOutput::write(). Its room on the disk is
    /// given back, so that memory does not lie there twice.
    Result<void> move_to(pages::MemoryOutput &output, uint64_t offset, const pages::Extent &extent);

private:
    explicit CopiedMemory(base::UniqueFd file) : file_(std::move(file)) {}
    /// Where the page at `address` lies, or is to lie, and how many behind it up to `end` follow there.
    struct Stretch {
        uint64_t offset, bytes;
    };
    Stretch place_for(uint64_t address, uint64_t end);
    Result<size_t> copy_piece(base::Pid pid, uint64_t address, Stretch place);

    base::UniqueFd file_;
    struct Slot {
        uint64_t bytes, offset;
    };
    std::map<uint64_t, Slot> slots_; ///< by address
    uint64_t size_ = 0;
    std::vector<pages::Extent> valid_;
    std::vector<std::byte> buffer_;
    bool ended_ = false;
};

/// As much of a file as `bytes`, from `from` on, goes to `output`.
Result<void> move_file_pages(int file, uint64_t from, uint64_t bytes, pages::MemoryOutput &output, uint64_t offset,
                             std::vector<std::byte> &buffer);

} // namespace dump
