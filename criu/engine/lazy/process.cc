#include "criu/engine/lazy/process.hh"

#include "base/ids.hh"

#include <algorithm>
#include <mutex>
#include <thread>

namespace lazy {

Missing Process::missing_in_child() const {
    Missing child = missing_;
    for (const Flight &flight : flights_)
        for (const Piece &part : flight.parts.pieces())
            child.add({part.start, part.end, flight.saved + part.saved});
    return child;
}

void Process::note(const uffd_msg &message) {
    auto each = [&](auto &&change) {
        change(missing_);
        for (Flight &flight : flights_)
            change(flight.parts);
    };
    const auto &remap = message.arg.remap;
    const auto &remove = message.arg.remove;
    if (message.event == UFFD_EVENT_REMAP)
        each([&](Missing &book) { book.move(remap.from, remap.to, remap.len); });
    else
        each([&](Missing &book) { book.drop(remove.start, remove.end); });
}

bool Process::is_on_its_way(uint64_t address) const {
    return std::ranges::any_of(flights_, [&](const Flight &flight) { return flight.parts.contains(address); });
}

Flight *Process::begin(const Piece &piece) {
    Flight &flight = flights_.emplace_back();
    flight.parts.add({piece.start, piece.end, 0});
    flight.image = image_;
    flight.saved = piece.saved;
    flight.bytes.resize(piece.size());
    return &flight;
}

Flight *Process::begin_fault(uint64_t address, uint64_t window) {
    for (;;) {
        const std::unique_lock held(lock_);
        if (auto piece = missing_.take_around(address, window))
            return begin(*piece);
        if (is_on_its_way(address) || put_zero_page(fd_, base::page_down(address)) != Put::Changing)
            return nullptr;
        break;
    }
    // Who changes mappings is held up until somebody reads of it; and whoever waits here asks again.
    std::this_thread::yield();
    wake_all(fd_);
    return nullptr;
}

Flight *Process::begin_first(uint64_t most) {
    const std::unique_lock held(lock_);
    auto piece = missing_.take_first(most);
    return piece ? begin(*piece) : nullptr;
}

// Where the program changes its mappings all is tried again: what is there already is passed over.
Put Process::land(Flight *flight, uint64_t &put) {
    Put outcome = Put::Changing;
    for (bool first = true; outcome == Put::Changing; first = false) {
        if (!first)
            std::this_thread::yield(); // another thread has to read the message about it
        const std::shared_lock held(lock_);
        outcome = Put::Done;
        put = 0;
        for (const Piece &part : flight->parts.pieces()) {
            uint64_t done = 0;
            outcome = put_pages(fd_, part.start, flight->bytes.data() + part.saved, part.size(), done);
            put += done;
            if (outcome != Put::Done)
                break;
        }
    }
    const std::unique_lock held(lock_);
    flights_.remove_if([&](const Flight &other) { return &other == flight; });
    return outcome;
}

bool Process::complete() {
    const std::shared_lock held(lock_);
    return missing_.empty() && flights_.empty();
}

void Process::give_up() {
    const std::unique_lock held(lock_);
    missing_ = {};
}

} // namespace lazy
