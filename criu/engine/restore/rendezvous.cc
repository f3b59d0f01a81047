#include "criu/engine/restore/rendezvous.hh"

#include "base/unique_fd.hh"

#include <algorithm>
#include <climits>
#include <ctime>
#include <linux/futex.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace restore {
namespace {

uint32_t load(const uint32_t &word) {
    return __atomic_load_n(&word, __ATOMIC_ACQUIRE);
}
void store(uint32_t &word, uint32_t value) {
    __atomic_store_n(&word, value, __ATOMIC_RELEASE);
}
void wake(uint32_t &word) {
    syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}
void sleep_on(uint32_t &word, uint32_t value, const timespec *limit) {
    syscall(SYS_futex, &word, FUTEX_WAIT, value, limit, nullptr, 0);
}

constexpr uint32_t kReported = 2;     ///< abort: complete, by the agent
constexpr uint32_t kReportedText = 3; ///< abort: complete, by a task in libc
constexpr uint32_t kGivenUp = 4;      ///< abort: by the coordinator

} // namespace

Result<Rendezvous> Rendezvous::create(const plan::Arena &arena) {
    static_assert(sizeof(Page) <= 64 << 10);
    void *page = mmap(reinterpret_cast<void *>(arena.rendezvous()), sizeof(Page), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (page == MAP_FAILED)
        return base::fail_sys("map the rendezvous");
    base::UniqueFd self(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
    if (!self)
        return base::fail_sys("pidfd_open");
    return Rendezvous(static_cast<Page *>(page), self.release());
}

void Rendezvous::expect(uint32_t count) {
    store(page_->meet.arrived, 0);
    store(page_->meet.expected, count);
}

void Rendezvous::open(uint32_t stage) {
    store(page_->meet.stage, stage);
    wake(page_->meet.stage);
}

void Rendezvous::abort() {
    uint32_t none = 0;
    __atomic_compare_exchange_n(&page_->meet.abort, &none, kGivenUp, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    wake(page_->meet.stage);
}

bool Rendezvous::wait_some() {
    const uint32_t seen = load(page_->meet.arrived);
    if (seen >= load(page_->meet.expected))
        return true;
    const timespec limit{0, 20'000'000};
    sleep_on(page_->meet.arrived, seen, &limit);
    return load(page_->meet.arrived) >= load(page_->meet.expected);
}

bool Rendezvous::given_up() const {
    return load(page_->meet.abort) != 0;
}

void Rendezvous::arrive() {
    if (__atomic_add_fetch(&page_->meet.arrived, 1, __ATOMIC_ACQ_REL) >= load(page_->meet.expected))
        wake(page_->meet.arrived);
}

void Rendezvous::wait_open(uint32_t stage) {
    const timespec now_and_then{0, 200'000'000};
    for (uint32_t now; (now = load(page_->meet.stage)) < stage && !given_up();) {
        sleep_on(page_->meet.stage, now, watches_ ? &now_and_then : nullptr);
        if (watches_ && coordinator_has_died())
            abort();
    }
}

bool Rendezvous::coordinator_has_died() const {
    pollfd death{coordinator_, POLLIN, 0};
    return poll(&death, 1, 0) == 1;
}

Result<void> Rendezvous::pass(uint32_t stage) {
    arrive();
    wait_open(stage);
    if (load(page_->meet.stage) < stage)
        return base::fail(base::ErrorKind::Died, "the restore was given up");
    return {};
}

Result<void> Rendezvous::in_turn(const std::function<Result<void>()> &body) {
    const timespec now_and_then{0, 20'000'000};
    while (__atomic_exchange_n(&page_->turn, 1, __ATOMIC_ACQUIRE) != 0) {
        if (given_up())
            return base::fail(base::ErrorKind::Died, "the restore was given up");
        sleep_on(page_->turn, 1, &now_and_then);
    }
    Result<void> done = body();
    store(page_->turn, 0);
    wake(page_->turn);
    return done;
}

void Rendezvous::tell_root(base::Pid root) {
    store(page_->root, static_cast<uint32_t>(root.value));
}

base::Pid Rendezvous::root() const {
    return base::Pid(static_cast<pid_t>(load(page_->root)));
}

void Rendezvous::tell_born(size_t place) {
    __atomic_store_n(&page_->born[place], 1, __ATOMIC_RELEASE);
    __atomic_add_fetch(&page_->births, 1, __ATOMIC_ACQ_REL);
    wake(page_->births);
}

Result<void> Rendezvous::wait_born(size_t place) {
    constexpr int kMostRounds = 1500; // half a minute: images in which two wait for each other end here
    for (int round = 0; round < kMostRounds; round++) {
        const uint32_t seen = load(page_->births);
        if (__atomic_load_n(&page_->born[place], __ATOMIC_ACQUIRE))
            return {};
        if (given_up())
            return base::fail(base::ErrorKind::Died, "the restore was given up");
        const timespec limit{0, 20'000'000};
        sleep_on(page_->births, seen, &limit);
    }
    return base::bad_image("the init of its pid namespace is not made by anybody who could");
}

namespace {
constexpr uint32_t kNoVerdict = 0, kRight = 1, kWrong = 2;
}

Result<void> Rendezvous::ask_for_number(uint32_t number) {
    store(page_->number_verdict, kNoVerdict);
    store(page_->number_wanted, number);
    wake(page_->number_wanted);
    const timespec limit{0, 20'000'000};
    while (load(page_->number_wanted) == number) {
        if (given_up())
            return base::fail(base::ErrorKind::Died, "the restore was given up");
        sleep_on(page_->number_wanted, number, &limit);
    }
    return {};
}

void Rendezvous::tell_of_number(bool right) {
    store(page_->number_verdict, right ? kRight : kWrong);
    wake(page_->number_verdict);
}

Result<bool> Rendezvous::has_right_number() {
    const timespec limit{0, 20'000'000};
    while (load(page_->number_verdict) == kNoVerdict) {
        if (given_up())
            return base::fail(base::ErrorKind::Died, "the restore was given up");
        sleep_on(page_->number_verdict, kNoVerdict, &limit);
    }
    return load(page_->number_verdict) == kRight;
}

void Rendezvous::serve_numbers(const std::function<void(uint32_t)> &choose) {
    const timespec limit{0, 20'000'000};
    while (!given_up()) {
        const uint32_t wanted = load(page_->number_wanted);
        if (!wanted) {
            sleep_on(page_->number_wanted, 0, &limit);
            continue;
        }
        choose(wanted);
        store(page_->number_wanted, 0);
        wake(page_->number_wanted);
    }
}

void Rendezvous::count(uint64_t compared, uint64_t skipped_cow, uint64_t restored) {
    __atomic_add_fetch(&page_->counters.compared, compared, __ATOMIC_RELAXED);
    __atomic_add_fetch(&page_->counters.skipped_cow, skipped_cow, __ATOMIC_RELAXED);
    __atomic_add_fetch(&page_->counters.restored, restored, __ATOMIC_RELAXED);
}

Rendezvous::Counters Rendezvous::counters() const {
    return page_->counters;
}

void Rendezvous::report(const base::Error &error) {
    uint32_t none = 0;
    if (__atomic_compare_exchange_n(&page_->meet.abort, &none, 1, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        std::string text = error.message();
        page_->text_length = static_cast<uint32_t>(text.copy(page_->text, sizeof page_->text));
        page_->hint_length = static_cast<uint32_t>(error.hint().copy(page_->hint, sizeof page_->hint));
        store(page_->meet.abort, kReportedText);
    }
    wake(page_->meet.arrived);
    wake(page_->meet.stage);
}

Result<void> Rendezvous::failure() const {
    // The reporter is between its two writes for an instant only, unless it was killed there.
    for (int tries = 0; load(page_->meet.abort) == 1 && tries < 1000; tries++)
        usleep(1000);
    if (load(page_->meet.abort) != kReportedText)
        return base::fail(base::ErrorKind::System, "a task failed");
    base::Error error(base::ErrorKind::System, std::string(page_->text, page_->text_length));
    return base::fail(error.hint(std::string(page_->hint, page_->hint_length)));
}

bool Rendezvous::agent_failed(AgentFailure &failure) const {
    if (load(page_->meet.abort) != kReported)
        return false;
    failure = {page_->meet.failed_tid, page_->meet.failed_op, page_->meet.failed_errno, page_->meet.failed_list};
    return true;
}

} // namespace restore
