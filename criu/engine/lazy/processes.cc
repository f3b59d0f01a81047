#include "criu/engine/lazy/serving.hh"

#include <unistd.h>

namespace lazy {

Processes::Processes(const std::vector<Begun> &begun, Journal &journal) : journal_(journal) {
    for (const Begun &one : begun)
        known_.emplace_back(one.fd, one.image, one.missing);
}

size_t Processes::size() {
    const std::lock_guard held(mutex_);
    return known_.size();
}

Process &Processes::at(size_t index) {
    const std::lock_guard held(mutex_);
    return known_[index].process;
}

bool Processes::is_finished(size_t index) {
    const std::lock_guard held(mutex_);
    return known_[index].finished;
}

bool Processes::all_finished() {
    const std::lock_guard held(mutex_);
    return std::ranges::all_of(known_, &Known::finished);
}

/// With the lock of the process, or before there are threads.
void Processes::book(const Journal::Entry &entry) {
    Process &process = at(entry.process);
    if (entry.finished) {
        const std::lock_guard held(mutex_);
        known_[entry.process].finished = true;
        return;
    }
    switch (entry.message.event) {
    case UFFD_EVENT_FORK: {
        const std::lock_guard held(mutex_);
        known_.emplace_back(static_cast<int>(entry.message.arg.fork.ufd), process.image(), process.missing_in_child());
        break;
    }
    case UFFD_EVENT_REMAP:
    case UFFD_EVENT_REMOVE:
    case UFFD_EVENT_UNMAP:
        process.note(entry.message);
        break;
    default:
        break;
    }
}

void Processes::replay() {
    for (uint64_t i = 0; i < journal_.count(); i++)
        book(journal_.entry(i));
    // One that was read, but not counted any more.
    if (journal_.next().message.event && !journal_.next().finished) {
        book(journal_.next());
        journal_.commit();
    }
    for (Known &known : known_)
        if (!known.finished)
            wake_all(known.process.fd());
}

Result<std::optional<uint64_t>> Processes::read_message(size_t index) {
    Process &process = at(index);
    size_t fresh = 0;
    {
        const std::lock_guard order(reading_);
        if (is_finished(index))
            return std::nullopt;
        const std::unique_lock held(process.lock());
        Journal::Entry &entry = journal_.next();
        entry.process = static_cast<uint32_t>(index);
        entry.finished = 0;
        entry.message.event = 0;
        if (!TRY(lazy::read_message(process.fd(), entry.message)))
            return std::nullopt;
        if (entry.message.event == UFFD_EVENT_PAGEFAULT) {
            const uint64_t address = entry.message.arg.pagefault.address;
            entry.message.event = 0;
            return address;
        }
        fresh = size();
        book(entry);
        if (journal_.full())
            return base::fail(base::ErrorKind::System, "the tasks have changed their memory a million times meanwhile");
        journal_.commit();
    }
    if (size() > fresh && on_new)
        on_new(fresh);
    return std::nullopt;
}

void Processes::finish(size_t index) {
    const std::lock_guard order(reading_);
    if (is_finished(index))
        return;
    Journal::Entry &entry = journal_.next();
    entry.process = static_cast<uint32_t>(index);
    entry.message.event = 0;
    entry.finished = 1;
    journal_.commit();
    book(entry);
    close(at(index).fd());
}

void Processes::poison_all() {
    for (Known &known : known_)
        if (!known.finished)
            for (const Piece &piece : known.process.missing_in_child().pieces())
                poison(known.process.fd(), piece.start, piece.end);
}

} // namespace lazy
