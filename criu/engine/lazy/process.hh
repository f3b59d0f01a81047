// One process whose memory comes later: what it lacks, what is on its way, and its userfaultfd.
//
// The kernel holds up whoever changes mappings until the message about it is read; from then on the book below must
// say the same as the mappings. So a message is read and booked under the lock that nobody holds who puts pages, and
// what was on its way meanwhile is booked as well: it may have been moved, or be wanted no more.
#pragma once

#include "criu/engine/lazy/fault_fd.hh"
#include "criu/engine/lazy/missing.hh"

#include <list>
#include <shared_mutex>
#include <span>

namespace lazy {

/// Pages on their way: `parts` says for which addresses each byte of `bytes` is; Piece::saved is the place in there.
struct Flight {
    Missing parts;
    uint32_t image = 0; ///< pid in the images
    uint64_t saved = 0; ///< address in the images
    std::vector<std::byte> bytes;
};

class Process {
public:
    Process(int fd, uint32_t image, Missing missing) : fd_(fd), image_(image), missing_(std::move(missing)) {}

    int fd() const { return fd_; }
    uint32_t image() const { return image_; }
    std::shared_mutex &lock() { return lock_; }

    // ---- with the lock held exclusively
    /// A child of fork, with its own descriptor: what is on its way to the parent is missing there.
    Missing missing_in_child() const;
    /// Books REMAP, REMOVE, UNMAP.
    void note(const uffd_msg &message);

    // ---- without the lock
    /// Pages around the fault begin their way; nothing if they are on it already, or if there is nothing to bring:
    /// then the page is zero.
    Flight *begin_fault(uint64_t address, uint64_t window);
    /// The first pages that are missing begin their way.
    Flight *begin_first(uint64_t most);
    /// Puts what has arrived to where it belongs by now. The flight ends. `put`: bytes.
    Put land(Flight *flight, uint64_t &put);
    /// Nothing is missing, and nothing on its way.
    bool complete();
    /// It has ended: nothing is missing any more.
    void give_up();

private:
    Flight *begin(const Piece &piece);
    bool is_on_its_way(uint64_t address) const;

    int fd_;
    uint32_t image_;
    Missing missing_;
    std::list<Flight> flights_;
    std::shared_mutex lock_;
};

} // namespace lazy
