#include "criu/image/scribe.hh"

#include "criu/image/file_output.hh"

#include <csignal>

namespace image {
namespace {

constexpr size_t kMostBytes = 8u << 20;

/// No signals for threads that are started meanwhile: those of the process belong to its main thread, which waits for
/// them.
class SignalsHeld {
public:
    SignalsHeld() {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old_);
    }
    ~SignalsHeld() { pthread_sigmask(SIG_SETMASK, &old_, nullptr); }
    SignalsHeld(const SignalsHeld &) = delete;

private:
    sigset_t old_{};
};

} // namespace

Scribe::Scribe(int dir) : dir_(dir) {
    SignalsHeld held;
    thread_ = std::thread([this] { work(); });
}

Scribe::~Scribe() {
    {
        std::lock_guard lock(mutex_);
        done_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

base::Result<void> Scribe::outcome() const {
    if (error_)
        return base::fail(base::Error(*error_));
    return {};
}

base::Result<void> Scribe::add(std::string name, std::string contents) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return bytes_ < kMostBytes || error_; });
    TRY(outcome());
    bytes_ += contents.size();
    queue_.push_back({std::move(name), std::move(contents)});
    changed_.notify_all();
    return {};
}

base::Result<void> Scribe::wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return queue_.empty(); });
    return outcome();
}

base::Result<void> Scribe::write(const File &file) const {
    const base::UniqueFd fd = TRY(create_file(dir_, file.name));
    TRY_CTX(write_all(fd.get(), file.contents), file.name);
    return {};
}

void Scribe::work() {
    std::unique_lock lock(mutex_);
    for (;;) {
        changed_.wait(lock, [this] { return !queue_.empty() || done_; });
        if (queue_.empty())
            return;
        const File &file = queue_.front(); // stays where it is: others only append
        base::Result<void> written;
        if (!error_) {
            lock.unlock();
            written = write(file);
            lock.lock();
        }
        if (!written)
            error_ = std::move(written).error();
        bytes_ -= file.contents.size();
        queue_.pop_front();
        changed_.notify_all();
    }
}

} // namespace image
