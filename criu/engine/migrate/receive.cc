// The destination of a migration, from top to bottom.

#include "base/clock.hh"
#include "base/listing.hh"
#include "criu/engine/migrate/migrate.hh"
#include "criu/engine/migrate/protocol.hh"
#include "criu/engine/restore/restore.hh"
#include "criu/kernel/readiness.hh"
#include "criu/pages/container_stream.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

namespace migrate {
namespace {

constexpr int kForEver = -1;
constexpr int kUntilGoMs = 300'000;
constexpr unsigned kMostRounds = 100;

/// What has come, a folder a round in the folder of images; gone with this.
class Arrivals {
public:
    explicit Arrivals(int directory) : directory_(directory) {}
    Arrivals(const Arrivals &) = delete;
    ~Arrivals() {
        for (size_t i = rounds_.size(); i > 0; i--)
            remove(i);
    }

    /// A folder for the next round. Errors: System(EEXIST) if there is one: it is somebody else's.
    Result<int> add() {
        if (rounds_.size() == kMostRounds)
            return base::bad_image("more rounds than anybody makes");
        const std::string name = name_of(rounds_.size() + 1);
        if (mkdirat(directory_, name.c_str(), 0700) < 0)
            return base::fail(std::move(base::Error::sys(name + " in the folder of images")
                                            .hint("remove what a criu receive that was killed has left, or give "
                                                  "another folder with -D")));
        rounds_.emplace_back(openat(directory_, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
        if (!rounds_.back())
            return base::fail_sys(name);
        const int made = rounds_.back().get();
        if (rounds_.size() > 1 && symlinkat(("../" + name_of(rounds_.size() - 1)).c_str(), made, "parent") < 0)
            return base::fail_sys("the link parent");
        return made;
    }

private:
    static std::string name_of(size_t round) { return fmt::format("round-{}", round); }

    void remove(size_t round) {
        if (const int made = rounds_[round - 1].get(); made >= 0)
            for (const std::string &file : base::list_names(made).value_or(std::vector<std::string>()))
                unlinkat(made, file.c_str(), 0);
        unlinkat(directory_, name_of(round).c_str(), AT_REMOVEDIR);
    }

    int directory_;
    std::vector<base::UniqueFd> rounds_;
};

/// Stops a restore at its last step until the source says that its tree may go on here.
class Gate final : public engine::Notifier {
public:
    Gate(engine::Notifier &users, Talk &talk) : users_(users), talk_(talk) {}

    Result<void> tell(const char *hook, std::optional<base::Pid> root) override {
        TRY(users_.tell(hook, root));
        if (hook != std::string_view("post-restore"))
            return {};
        TRY(talk_.say(Word::Ready));
        return talk_.expect(Word::Go, kUntilGoMs);
    }
    Result<int> tell_for_status(const char *hook, std::optional<base::Pid> root) override {
        return users_.tell_for_status(hook, root);
    }
    bool has_listeners() const override { return users_.has_listeners(); }

private:
    engine::Notifier &users_;
    Talk &talk_;
};

/// All rounds; returns the folder of the last.
Result<int> take_rounds(Talk &talk, pages::stream::Line &line, Arrivals &arrivals, base::Log &log) {
    for (;;) {
        const Word word = TRY(talk.hear(kForEver));
        if (word != Word::Round && word != Word::Last)
            return base::bad_image("the source of the migration says something else than a round");
        const int folder = TRY(arrivals.add());
        TRY(pages::unpack_stream(line, {}, folder));
        if (word == Word::Last)
            return folder;
        TRY(talk.say(Word::Taken));
        log.info("receive: memory has come ahead");
    }
}

/// The daemon has the other end of the pipe: until it has brought all memory it needs the images.
void await_end_of(const base::UniqueFd &daemon) {
    for (pollfd end{daemon.get(), 0, 0}; poll(&end, 1, kForEver) < 0 && errno == EINTR;) {
    }
}

/// What is on its way here, until the source has heard us and closes: a connection that ends with something unread in
/// it takes what we have said last away from the other side.
void listen_on(pages::Channel &channel) {
    constexpr uint64_t kMostUs = 5'000'000;
    const uint64_t end = base::now_us(CLOCK_MONOTONIC) + kMostUs;
    if (!channel.finish())
        return;
    std::vector<std::byte> nothing(64u << 10);
    while (base::now_us(CLOCK_MONOTONIC) < end) {
        constexpr int kLookMs = 200;
        if (auto ready = pages::wait_ready(channel.fd(), POLLIN, kLookMs); !ready) {
            if (ready.error().code() != ETIMEDOUT)
                return;
            continue;
        }
        if (auto some = channel.receive_some(nothing); !some || *some == 0)
            return;
    }
}

Result<void> take_tree(const engine::ReceiveRequest &request, Talk &talk, pages::Channel &channel,
                       engine::Notifier &users, base::Log &log) {
    TRY(talk.answer_greeting(kForEver));
    Arrivals arrivals(request.images_dir_fd);
    const auto line = pages::stream::channel_line(channel);
    engine::RestoreRequest restore = request.restore;
    restore.images_dir_fd = TRY(take_rounds(talk, *line, arrivals, log));
    Gate gate(users, talk);
    base::UniqueFd daemon; // ends it if the restore does not come as far as to need it
    if (request.start_daemon)
        daemon = TRY(request.start_daemon(restore.images_dir_fd));
    TRY(restore::run(restore, gate, log));
    if (auto told = talk.say(Word::Running); !told)
        log.warn("receive: the tree runs here, and the source could not be told: " + told.error().message());
    if (daemon)
        await_end_of(daemon);
    return {};
}

} // namespace

Result<void> receive(const engine::ReceiveRequest &request, engine::Notifier &notifier, base::Log &log) {
    auto listening = TRY_CTX(pages::listen_at(request.link.endpoint), "receive");
    log.info(fmt::format("Using {} port", listening.port));
    TRY_CTX(kernel::say_ready(request.status_fd), "receive");
    const auto channel =
        TRY_CTX(pages::accepted_channel(request.link, TRY_CTX(pages::accept_one(listening), "receive")), "receive");
    Talk talk(*channel);
    auto taken = take_tree(request, talk, *channel, notifier, log);
    if (!taken) {
        if (talk.say_failed(taken.error())) // it may be the connection that has failed
            listen_on(*channel);
        return base::fail(std::move(taken.error().ctx("receive")));
    }
    return {};
}

} // namespace migrate
