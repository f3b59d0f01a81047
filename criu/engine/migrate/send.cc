// The source of a migration, from top to bottom.

#include "base/clock.hh"
#include "criu/engine/dump/dump.hh"
#include "criu/engine/migrate/migrate.hh"
#include "criu/engine/migrate/protocol.hh"
#include "criu/engine/migrate/rounds.hh"
#include "criu/engine/pre_dump/pre_dump.hh"
#include "criu/engine/progress.hh"
#include "criu/engine/tracking/notes.hh"
#include "criu/kernel/interruption.hh"
#include "criu/kernel/proc_dir.hh"
#include "criu/pages/container_stream.hh"

#include <algorithm>
#include <csignal>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>

namespace migrate {
namespace {

constexpr int kAnswerMs = 300'000;  // the other side writes to disk and rebuilds a tree
constexpr int kLastStepMs = 60'000; // only the last step of a restore
constexpr int kWholeWordMs = 1000;  // it has begun to come

/// The images of a round are a folder of this one: what they say of memory is kept, the memory is not.
class Workspace {
public:
    static Result<Workspace> make() { return Workspace(TRY(pages::private_directory())); }

    Result<int> add() {
        const std::string name = fmt::format("{}", rounds_.size() + 1);
        if (mkdirat(root_.get(), name.c_str(), 0700) < 0)
            return base::fail_sys("a folder for a round");
        rounds_.emplace_back(openat(root_.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        return rounds_.back() ? Result<int>(rounds_.back().get()) : base::fail_sys("a folder for a round");
    }
    /// From the newest folder to the one before.
    std::string previous() const { return rounds_.size() > 1 ? fmt::format("../{}", rounds_.size() - 1) : ""; }

private:
    explicit Workspace(base::UniqueFd root) : root_(std::move(root)) {}
    base::UniqueFd root_;
    std::vector<base::UniqueFd> rounds_;
};

/// Asks the other side at the point where a dump asks whether its tree may end.
class Decider final : public engine::Notifier {
public:
    Decider(engine::Notifier &users, Talk &talk, base::Log &log) : users_(users), talk_(talk), log_(log) {}

    Result<void> tell(const char *hook, std::optional<base::Pid> root) override { return users_.tell(hook, root); }
    bool has_listeners() const override { return users_.has_listeners(); }

    Result<int> tell_for_status(const char *hook, std::optional<base::Pid> root) override {
        if (const int status = TRY(users_.tell_for_status(hook, root)); status != 0)
            return status;
        TRY(talk_.expect(Word::Ready, kAnswerMs));
        log_.info("migrate: the tree is ready on the other side");
        TRY(kernel::check_interrupted());
        // Even a failed write may have reached it.
        if (!talk_.say(Word::Go))
            return engine::kUndecided;
        auto heard = talk_.hear(kLastStepMs);
        if (heard && *heard == Word::Running) {
            runs_since_us_ = base::now_us(CLOCK_MONOTONIC);
            return 0;
        }
        if (!heard && heard.error().kind() == base::ErrorKind::Died) // it says that it could not
            return base::fail(std::move(heard.error()));
        return engine::kUndecided;
    }

    uint64_t runs_since_us() const { return runs_since_us_; } ///< there

private:
    engine::Notifier &users_;
    Talk &talk_;
    base::Log &log_;
    uint64_t runs_since_us_ = 0;
};

/// The other side has nothing to say while a stream goes there, but that it has failed: the rest is not sent then.
class WatchedLine final : public pages::stream::Line {
public:
    WatchedLine(pages::Channel &channel, Talk &talk)
        : channel_(channel), talk_(talk), line_(pages::stream::channel_line(channel)) {}
    Result<void> write(std::span<const std::byte> first, std::span<const std::byte> second) override {
        pollfd said{channel_.fd(), POLLIN, 0};
        if (poll(&said, 1, 0) > 0) {
            TRY(talk_.hear(kWholeWordMs));
            return base::bad_image("the other side of the migration talks while it should listen");
        }
        return line_->write(first, second);
    }
    Result<void> read(std::span<std::byte> into) override { return line_->read(into); }

private:
    pages::Channel &channel_;
    Talk &talk_;
    std::unique_ptr<Line> line_;
};

struct Source {
    const engine::MigrateRequest &request;
    base::Log &log;
    Talk &talk;
    pages::stream::Line &line;
    Workspace workspace;

    Result<engine::DumpRequest> begin_round(Word word) {
        engine::DumpRequest dump = request.dump;
        dump.images_dir_fd = TRY(workspace.add());
        dump.work_dir_fd = dump.images_dir_fd;
        dump.increment.previous = workspace.previous();
        dump.increment.track_memory = word == Word::Round;
        // Shared memory would be compared with pages that are not here any more.
        dump.increment.track_shared = false;
        dump.verify = false; // that is the other side's, before it says that it is ready
        TRY(talk.say(word));
        dump.stream = TRY(pages::container_stream(line, {}));
        return dump;
    }

    Result<RoundFigures> copy_ahead() {
        const uint64_t began = base::now_us(CLOCK_MONOTONIC);
        engine::ScriptNotifier nobody(kernel::Scripts({}, -1)); // of rounds ahead nobody is told
        engine::PreDumpRequest round{.dump = TRY(begin_round(Word::Round))};
        const auto outcome = TRY(pre_dump::run(round, nobody, log));
        TRY(talk.expect(Word::Taken, kAnswerMs));
        return RoundFigures{outcome.statistics.pages_written() * base::kPageSize, base::now_us(CLOCK_MONOTONIC) - began,
                            outcome.statistics.frozen_time()};
    }
};

Result<void> copy_rounds(Source &source) {
    Rounds rounds(source.request.most_stall_ms * 1000);
    while (rounds.enough().empty()) {
        TRY(kernel::check_interrupted());
        const RoundFigures round = TRY(source.copy_ahead());
        rounds.add(round);
        if (engine::Progress *progress = source.request.dump.progress) {
            progress->written = rounds.count() > 1 ? round.bytes : 0; // what this round sent was written in the last
            progress->stall_us = rounds.expected_stall_us();
        }
        source.log.info(fmt::format("migrate: round {}: {} MiB in {} ms, {:.0f} MB/s; the tree stood {:.1f} ms",
                                    rounds.count(), round.bytes >> 20, round.us / 1000,
                                    static_cast<double>(round.bytes) / static_cast<double>(round.us + 1),
                                    static_cast<double>(round.frozen_us) / 1000));
    }
    source.log.info("migrate: the last round comes: " + rounds.enough());
    return {};
}

std::unexpected<base::Error> undecided(base::Pid root) {
    return base::fail(std::move(
        base::Error::sys(EINPROGRESS, "the other side was told to let the tree run, and has not said whether it does")
            .hint(fmt::format("look there: if it does not run, criu migrate -t {} --resume-here lets it go on "
                              "here, where it stands still; if it does, end it here",
                              root.value))));
}

Result<void> move_tree(Source &source, engine::Notifier &users) {
    TRY(copy_rounds(source));
    Decider decider(users, source.talk, source.log);
    const auto outcome = TRY(dump::run(TRY(source.begin_round(Word::Last)), decider, source.log));
    if (outcome.script_status == engine::kUndecided)
        return undecided(source.request.dump.root);
    if (outcome.script_status)
        return base::fail(base::ErrorKind::System, "a post-dump script failed: the tree stays here");
    // What came behind that word, the end of the tree here, kept nobody waiting.
    const uint64_t behind = base::now_us(CLOCK_MONOTONIC) - decider.runs_since_us();
    source.log.info(
        fmt::format("migrate: the tree runs on the other side; it stood {:.1f} ms",
                    (static_cast<double>(outcome.statistics.frozen_time()) - static_cast<double>(behind)) / 1000));
    return {};
}

} // namespace

Result<void> send(const engine::MigrateRequest &request, engine::Notifier &notifier, base::Log &log) {
    const kernel::HoldInterruption hold; // at every stage the tree and the other side are put in order first
    const auto channel = TRY_CTX(pages::connect_channel(request.to), "migrate");
    Talk talk(*channel);
    TRY_CTX(talk.greet(kAnswerMs), "migrate");
    WatchedLine line(*channel, talk);
    Source source{request, log, talk, line, TRY_CTX(Workspace::make(), "migrate")};
    auto moved = move_tree(source, notifier);
    if (!moved) {
        if (moved.error().code() != EINPROGRESS) // nothing of us stays in a tree that goes on
            if (auto ended = tracking::untrack(request.dump.root); !ended)
                log.warn("migrate: " + ended.error().message());
        return base::fail(std::move(moved.error().ctx("migrate")));
    }
    return {};
}

Result<void> resume_here(base::Pid root) {
    std::vector<base::Pid> tasks{root};
    for (size_t i = 0; i < tasks.size(); i++)
        std::ranges::copy(kernel::children_of(tasks[i]), std::back_inserter(tasks));
    for (auto task = tasks.rbegin(); task != tasks.rend(); ++task)
        if (kill(task->value, SIGCONT) < 0)
            return base::fail_sys(fmt::format("migrate --resume-here: task {}", task->value));
    return {};
}

} // namespace migrate
