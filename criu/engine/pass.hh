// The order of an engine's work as a list: dump.cc and restore.cc each have one table of passes.
#pragma once

#include "base/log.hh"
#include "base/result.hh"

#include <cstddef>
#include <fmt/format.h>
#include <iterator>

namespace engine {

/// One step. `Phase` is an enumeration of the engine's: what a failure means from this pass on.
template <class Phase, class State> struct Pass {
    Phase phase;
    const char *what; ///< for the log, which shows so how long each takes
    base::Result<void> (*run)(State &);
};

/// For a static_assert: phases come one after the other.
template <class Passes> constexpr bool phases_ascend(const Passes &passes) {
    for (auto pass = std::begin(passes); std::next(pass) != std::end(passes); ++pass)
        if (std::next(pass)->phase < pass->phase)
            return false;
    return true;
}

/// Runs one pass after the other until one fails, or the state says `is_over()`. `reached`: the phase of the last one.
template <class Phase, class State, size_t N>
base::Result<void> run_passes(const Pass<Phase, State> (&passes)[N], State &state, base::Log &log, const char *engine,
                              Phase &reached) {
    for (const Pass<Phase, State> &pass : passes) {
        if (state.is_over())
            break;
        reached = pass.phase;
        log.debug(fmt::format("{}: {}", engine, pass.what));
        TRY(pass.run(state));
    }
    return {};
}

} // namespace engine
