// Which pages of a process are not there yet, and under which address each of them is saved. Pure.
//
// Both are the same until the program moves memory (mremap), which moves what is missing of it as well.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace lazy {

/// Bytes [start, end) of the process now; saved as [saved, saved + size) of its images.
struct Piece {
    uint64_t start = 0, end = 0;
    uint64_t saved = 0;
    uint64_t size() const { return end - start; }
    bool operator==(const Piece &) const = default;
};

class Missing {
public:
    void add(Piece piece);
    /// Removes and returns the part of one piece around `address`: at most what lies between two neighbouring multiples
    /// of `window` (a power of two). Nothing if the page is not missing.
    std::optional<Piece> take_around(uint64_t address, uint64_t window);
    /// Removes and returns the first piece, at most `most` bytes of it.
    std::optional<Piece> take_first(uint64_t most);
    /// Removes and returns all pieces.
    std::vector<Piece> take_all();
    /// What lay in [start, end) is gone.
    void drop(uint64_t start, uint64_t end);
    /// What lay in [from, from + size) lies at `to` now, where nothing else is any more.
    void move(uint64_t from, uint64_t to, uint64_t size);

    bool contains(uint64_t address) const;
    bool empty() const { return pieces_.empty(); }
    uint64_t bytes() const;
    std::vector<Piece> pieces() const;

private:
    struct Rest {
        uint64_t end, saved;
    };
    using Pieces = std::map<uint64_t, Rest>; ///< by start
    void split(uint64_t at);
    Pieces pieces_;
};

} // namespace lazy
