// Progress on a terminal: one line that is written over until the command ends.
#pragma once

#include "criu/cli/options.hh"
#include "criu/engine/progress.hh"

#include <memory>
#include <string>

namespace cli {

/// What is known at one instant.
struct ProgressFigures {
    engine::Progress::Tree tree{};
    uint32_t round = 0;
    uint64_t total = 0, done = 0, written = 0, stall_us = 0;
};

/// The line, without its end. `bytes_per_second`: 0 for not known yet. Pure.
std::string progress_line(std::string_view command, const ProgressFigures &figures, uint64_t bytes_per_second);

/// Whether it is shown: as the user says, or where standard error is a terminal and nothing else is written there.
bool shows_progress(const Options &options, bool on_terminal);

/// A thread that shows it while it lives. What takes less than a moment is not shown.
class ProgressDisplay {
public:
    explicit ProgressDisplay(const Options &options);
    ProgressDisplay(const ProgressDisplay &) = delete;
    ~ProgressDisplay();
    /// Null where nothing is shown.
    engine::Progress *watched() const { return shared_; }

private:
    struct Painter;
    engine::Progress *shared_ = nullptr;
    std::unique_ptr<Painter> painter_;
};

} // namespace cli
