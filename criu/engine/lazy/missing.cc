#include "criu/engine/lazy/missing.hh"

#include <algorithm>
#include <utility>

namespace lazy {

void Missing::add(Piece piece) {
    if (piece.start < piece.end)
        pieces_[piece.start] = {piece.end, piece.saved};
}

/// Makes a piece begin at `at` if one reaches over it.
void Missing::split(uint64_t at) {
    auto next = pieces_.lower_bound(at);
    if (next == pieces_.begin())
        return;
    auto &[start, rest] = *std::prev(next);
    if (rest.end <= at)
        return;
    pieces_.emplace_hint(next, at, Rest{rest.end, rest.saved + (at - start)});
    rest.end = at;
}

bool Missing::contains(uint64_t address) const {
    auto next = pieces_.upper_bound(address);
    return next != pieces_.begin() && std::prev(next)->second.end > address;
}

std::optional<Piece> Missing::take_around(uint64_t address, uint64_t window) {
    if (!contains(address))
        return std::nullopt;
    const uint64_t from = address & ~(window - 1);
    split(from);
    if (from + window > from) // not at the very end of the address space
        split(from + window);
    auto found = std::prev(pieces_.upper_bound(address));
    const Piece piece{found->first, found->second.end, found->second.saved};
    pieces_.erase(found);
    return piece;
}

std::optional<Piece> Missing::take_first(uint64_t most) {
    if (pieces_.empty())
        return std::nullopt;
    if (pieces_.begin()->second.end - pieces_.begin()->first > most)
        split(pieces_.begin()->first + most);
    const auto first = pieces_.begin();
    const Piece piece{first->first, first->second.end, first->second.saved};
    pieces_.erase(first);
    return piece;
}

std::vector<Piece> Missing::take_all() {
    auto all = pieces();
    pieces_.clear();
    return all;
}

void Missing::drop(uint64_t start, uint64_t end) {
    if (start >= end)
        return;
    split(start);
    split(end);
    pieces_.erase(pieces_.lower_bound(start), pieces_.lower_bound(end));
}

void Missing::move(uint64_t from, uint64_t to, uint64_t size) {
    if (from == to || !size)
        return;
    split(from);
    split(from + size);
    std::vector<Piece> moved;
    const auto first = pieces_.lower_bound(from), last = pieces_.lower_bound(from + size);
    for (auto it = first; it != last; ++it)
        moved.push_back({it->first - from + to, it->second.end - from + to, it->second.saved});
    pieces_.erase(first, last);
    drop(to, to + size);
    for (const Piece &piece : moved)
        add(piece);
}

uint64_t Missing::bytes() const {
    uint64_t sum = 0;
    for (const auto &[start, rest] : pieces_)
        sum += rest.end - start;
    return sum;
}

std::vector<Piece> Missing::pieces() const {
    std::vector<Piece> all;
    for (const auto &[start, rest] : pieces_)
        all.push_back({start, rest.end, rest.saved});
    return all;
}

} // namespace lazy
