#include "criu/engine/lazy/serving.hh"

#include "base/guarded.hh"

#include <chrono>
#include <csignal>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <thread>
#include <unistd.h>

namespace lazy {
namespace {

// Kernel work that others have to wait for meanwhile: a fault wants few pages, but the next one is near.
constexpr uint64_t kAroundFault = 64 << 10, kMostAhead = 256 << 10;
constexpr unsigned kMostHandlers = 4;
constexpr int kLookMs = 50;

} // namespace

void Serving::fail(base::Error error) {
    const std::lock_guard held(mutex_);
    if (!error_)
        error_ = std::move(error);
    over_ = true;
}

void Serving::watch(size_t index) {
    epoll_event event{.events = EPOLLIN, .data = {.u64 = index}};
    epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, processes_.at(index).fd(), &event);
}

/// Reads the pages of a flight and puts them where they belong.
Result<void> Serving::bring(size_t index, Flight *flight) {
    Process &process = processes_.at(index);
    TRY(saved_.read(flight->image, flight->saved, flight->bytes));
    uint64_t put = 0;
    if (process.land(flight, put) == Put::Gone)
        process.give_up();
    journal_.transferred() += put;
    return {};
}

void Serving::answer_faults() {
    while (!ends()) {
        epoll_event event{};
        if (epoll_wait(epoll_.get(), &event, 1, kLookMs) != 1)
            continue;
        const auto index = static_cast<size_t>(event.data.u64);
        auto handled = base::guarded([&]() -> Result<void> {
            const auto address = TRY(processes_.read_message(index));
            if (!address)
                return {};
            faults_++;
            if (Flight *flight = processes_.at(index).begin_fault(*address, kAroundFault))
                TRY(bring(index, flight));
            return {};
        });
        if (!handled)
            fail(std::move(handled.error()));
    }
}

/// Chunks grow while nobody waits for anything.
void Serving::bring_rest() {
    uint64_t chunk = kAroundFault, seen = 0;
    for (size_t index = 0; !ends();) {
        if (!journal_.may_run() || index == processes_.size()) {
            if (journal_.may_run() && processes_.all_finished())
                over_ = true;
            else
                std::this_thread::sleep_for(std::chrono::milliseconds(1));
            index = 0;
            continue;
        }
        if (processes_.is_finished(index)) {
            index++;
            continue;
        }
        chunk = faults_ == seen ? std::min(chunk * 2, kMostAhead) : kAroundFault;
        seen = faults_;
        Process &process = processes_.at(index);
        auto brought = base::guarded([&]() -> Result<void> {
            if (Flight *flight = process.begin_first(chunk))
                return bring(index, flight);
            if (process.complete())
                processes_.finish(index);
            else
                index++; // the last of it is on its way: by then another may be complete
            return {};
        });
        if (!brought)
            fail(std::move(brought.error()));
    }
}

Result<void> Serving::run(const std::function<Result<void>()> &meanwhile) {
    epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
    if (!epoll_)
        return base::fail_sys("epoll");
    processes_.on_new = [this](size_t index) { watch(index); };
    for (size_t i = 0; i < processes_.size(); i++)
        if (!processes_.is_finished(i))
            watch(i);
    std::vector<std::thread> threads;
    const unsigned handlers = std::clamp(std::thread::hardware_concurrency(), 2u, kMostHandlers);
    for (unsigned i = 0; i < handlers; i++)
        threads.emplace_back([this] { answer_faults(); });
    threads.emplace_back([this] { bring_rest(); });
    while (!ends()) {
        if (auto fine = meanwhile(); !fine)
            fail(std::move(fine.error()));
    }
    for (std::thread &thread : threads)
        thread.join();
    return error_ ? base::fail(std::move(*error_)) : Result<void>();
}

} // namespace lazy
