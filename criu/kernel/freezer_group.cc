#include "criu/kernel/freezer_group.hh"

#include "base/listing.hh"
#include "criu/kernel/io.hh"

#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

namespace kernel {

Result<bool> FreezerGroup::is_frozen() const {
    if (version2_) {
        const std::string events = TRY(read_file(directory_.get(), "cgroup.events"));
        return events.find("frozen 1") != std::string::npos;
    }
    const std::string state = TRY(read_file(directory_.get(), "freezer.state"));
    return state.starts_with("FROZEN");
}

Result<void> FreezerGroup::set(bool frozen) const {
    return write_file(directory_.get(), file(), version2_ ? (frozen ? "1" : "0") : (frozen ? "FROZEN" : "THAWED"));
}

namespace {

/// In the group, or in one below it.
bool holds_us(int directory) {
    const std::string wanted = std::to_string(getpid());
    std::vector<base::UniqueFd> groups;
    groups.emplace_back(openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    for (size_t i = 0; i < groups.size(); i++) {
        if (("\n" + read_file(groups[i].get(), "cgroup.procs").value_or("")).find("\n" + wanted + "\n") !=
            std::string::npos)
            return true;
        for (const std::string &name : base::list_names(groups[i].get(), DT_DIR).value_or(std::vector<std::string>()))
            groups.emplace_back(openat(groups[i].get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    }
    return false;
}

} // namespace

Result<FreezerGroup> FreezerGroup::freeze(const std::string &directory, int timeout_ms) {
    FreezerGroup group(TRY(open_at(AT_FDCWD, directory.c_str(), O_RDONLY | O_DIRECTORY)));
    struct statfs fs {};
    if (fstatfs(group.directory_.get(), &fs) < 0)
        return base::fail_sys(directory);
    group.version2_ = fs.f_type == CGROUP2_SUPER_MAGIC;
    const std::string state = TRY_CTX(read_file(group.directory_.get(), group.file()), directory);
    if (holds_us(group.directory_.get()))
        return base::fail(base::Error(base::ErrorKind::Usage, fmt::format("{}: criu itself is in this group, and would "
                                                                          "stand still with it",
                                                                          directory))
                              .hint("start criu from another control group"));
    group.was_frozen_ = state.starts_with(group.version2_ ? "1" : "FR"); // FROZEN, FREEZING
    group.frozen_ = true;
    if (!group.was_frozen_)
        TRY(group.post_guard());
    TRY_CTX(group.set(true), directory);
    const auto began = std::chrono::steady_clock::now();
    for (int round = 1; !TRY(group.is_frozen()); round++) {
        constexpr int kAgain = 10, kPauseUs = 2'000;
        if (timeout_ms >= 0 && std::chrono::steady_clock::now() - began > std::chrono::milliseconds(timeout_ms))
            return base::fail(base::Error(base::ErrorKind::Busy, "Unable to freeze cgroup " + directory)
                                  .hint("a task in it does not come to rest; a dump without --freeze-cgroup stops the "
                                        "tasks of the tree one by one"));
        if (round % kAgain == 0)
            TRY(group.set(true)); // tasks that came in since
        usleep(kPauseUs);
    }
    return group;
}

FreezerGroup::FreezerGroup(FreezerGroup &&other) noexcept
    : directory_(std::move(other.directory_)), leash_(std::move(other.leash_)), guard_(std::exchange(other.guard_, 0)),
      version2_(other.version2_), was_frozen_(other.was_frozen_), frozen_(std::exchange(other.frozen_, false)) {}

Result<void> FreezerGroup::post_guard() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return base::fail_sys("pipe");
    leash_.reset(ends[1]);
    const base::UniqueFd waits(ends[0]);
    guard_ = fork();
    if (guard_ < 0)
        return base::fail_sys("fork");
    if (guard_ > 0)
        return {};
    leash_.reset();
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, nullptr);
    setsid();
    char word;
    ssize_t n;
    while ((n = read(waits.get(), &word, 1)) < 0 && errno == EINTR) {
    }
    if (n == 0) // nobody has dismissed us
        (void)set(false);
    _exit(0);
}

void FreezerGroup::dismiss_guard() {
    if (guard_ <= 0)
        return;
    const char word = 'k';
    (void)!write(leash_.get(), &word, 1);
    leash_.reset();
    waitpid(std::exchange(guard_, 0), nullptr, 0);
}

void FreezerGroup::thaw() {
    if (std::exchange(frozen_, false))
        (void)set(false);
    dismiss_guard();
}

FreezerGroup::~FreezerGroup() {
    if (directory_ && (was_frozen_ || frozen_))
        (void)set(was_frozen_);
    dismiss_guard();
}

} // namespace kernel
