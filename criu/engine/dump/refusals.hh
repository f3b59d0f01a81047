// All that a dump refuses for reasons of one kind, so that whoever removes the cause of one hears of the others, too.
#pragma once

#include "base/log.hh"
#include "base/result.hh"

#include <fmt/format.h>
#include <optional>
#include <string>

namespace dump {

inline void log_refusal(base::Log &log, const base::Error &error) {
    log.error(fmt::format("dump: {}", error.message()));
    if (!error.hint().empty())
        log.hint(error.hint());
}

/// The first refusal is the outcome, all others are logged. Other errors than refusals end the search.
class Refusals {
public:
    explicit Refusals(base::Log &log) : log_(log) {}

    /// `about`: what the object is called. False: the outcome says why there is nothing more to look for.
    template <class T> bool note(const base::Result<T> &seen, const std::string &about) {
        if (seen)
            return true;
        base::Error error = base::Error(seen.error()).ctx(about);
        const bool refused = error.kind() == base::ErrorKind::Unsupported;
        if (!first_ || !refused)
            first_ = std::move(error);
        else
            log_refusal(log_, error);
        return refused;
    }
    base::Result<void> outcome() const { return first_ ? base::fail(*first_) : base::Result<void>(); }

private:
    base::Log &log_;
    std::optional<base::Error> first_;
};

} // namespace dump
