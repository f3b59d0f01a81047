#include "criu/cli/progress.hh"

#include "criu/cli/option_table.hh"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <fmt/format.h>
#include <mutex>
#include <new>
#include <sys/mman.h>
#include <system_error>
#include <thread>
#include <unistd.h>

namespace cli {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kAtFirst{400}, kBetween{200};

ProgressFigures figures_of(const engine::Progress &progress) {
    return {progress.tree, progress.round, progress.total, progress.done, progress.written, progress.stall_us};
}

std::string_view name_of_command(Command command) {
    return std::ranges::find(command_table(), command, &CommandRow::command)->name;
}

/// The cursor stays at the beginning: a message that somebody else writes goes over the line.
void paint(std::string_view line) {
    const std::string text = fmt::format("\r\x1b[K{}\r", line);
    if (::write(STDERR_FILENO, text.data(), text.size()) < 0) {
        // A terminal that has gone is no reason to stop.
    }
}

} // namespace

std::string progress_line(std::string_view command, const ProgressFigures &figures, uint64_t bytes_per_second) {
    std::string line = fmt::format("{}: ", command);
    if (figures.round)
        line += fmt::format("round {}: ", figures.round);
    line += figures.total > figures.done ? fmt::format("{} of {} MiB", figures.done >> 20, figures.total >> 20)
                                         : fmt::format("{} MiB", figures.done >> 20);
    if (bytes_per_second)
        line += fmt::format(", {} MB/s", bytes_per_second / 1'000'000);
    if (figures.written)
        line += fmt::format(", {} MiB written by the tree meanwhile", figures.written >> 20);
    if (figures.stall_us)
        line += fmt::format(", it will stand for about {} ms", figures.stall_us / 1000);
    if (figures.tree == engine::Progress::Tree::Stands)
        line += "; the tree stands";
    if (figures.tree == engine::Progress::Tree::Runs)
        line += "; the tree runs";
    return line;
}

bool shows_progress(const Options &options, bool on_terminal) {
    if (options.progress)
        return *options.progress;
    constexpr int kErrors = 1, kWarnings = 2;
    const bool log_is_elsewhere = !options.log_file.empty() && options.log_file != "-";
    return on_terminal && options.verbosity >= kErrors && (log_is_elsewhere || options.verbosity <= kWarnings);
}

struct ProgressDisplay::Painter {
    Painter(std::string_view name, const engine::Progress &shared) : command(name), progress(shared) {}

    void run() {
        std::unique_lock held(lock);
        auto wait = kAtFirst;
        auto before = figures_of(progress);
        auto then = Clock::now();
        for (; !ended.wait_for(held, wait, [&] { return ends; }); wait = kBetween, shown = true) {
            const auto now = figures_of(progress);
            const std::chrono::duration<double> passed = Clock::now() - then;
            // A new round begins at nothing.
            const uint64_t moved = now.done >= before.done ? now.done - before.done : now.done;
            paint(progress_line(command, now, static_cast<uint64_t>(static_cast<double>(moved) / passed.count())));
            before = now, then = Clock::now();
        }
        if (shown)
            paint("");
    }

    std::string_view command;
    const engine::Progress &progress;
    std::mutex lock;
    std::condition_variable ended;
    bool ends = false, shown = false;
    std::thread thread;
};

ProgressDisplay::ProgressDisplay(const Options &options) {
    if (!shows_progress(options, isatty(STDERR_FILENO)))
        return;
    void *memory = mmap(nullptr, sizeof(engine::Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return;
    shared_ = new (memory) engine::Progress();
    painter_ = std::make_unique<Painter>(name_of_command(options.command), *shared_);
    // Signals are for the thread that obeys them.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
        painter_->thread = std::thread([painter = painter_.get()] { painter->run(); });
    } catch (const std::system_error &) { // no room for a thread: nothing is shown
        painter_.reset();
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

ProgressDisplay::~ProgressDisplay() {
    if (painter_) {
        {
            const std::lock_guard held(painter_->lock);
            painter_->ends = true;
        }
        painter_->ended.notify_all();
        painter_->thread.join();
    }
    if (shared_)
        munmap(shared_, sizeof *shared_);
}

} // namespace cli
