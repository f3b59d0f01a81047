#include "criu/kernel/interruption.hh"

#include <cstring>

namespace kernel {
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

} // namespace

HoldInterruption::HoldInterruption() {
    sigset_t held;
    sigemptyset(&held);
    for (int number : kSignals)
        sigaddset(&held, number);
    sigprocmask(SIG_BLOCK, &held, &old_);
}

HoldInterruption::~HoldInterruption() {
    sigprocmask(SIG_SETMASK, &old_, nullptr);
}

base::Result<void> check_interrupted() {
    sigset_t pending;
    sigpending(&pending);
    for (int number : kSignals)
        if (sigismember(&pending, number) == 1)
            return base::fail_sys(EINTR, std::string("stopped by signal ") + strsignal(number));
    return {};
}

} // namespace kernel
