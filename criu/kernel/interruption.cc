#include "criu/kernel/interruption.hh"

#include <cerrno>
#include <cstring>
#include <ctime>

namespace kernel {
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

} // namespace

sigset_t interruptions() {
    sigset_t all;
    sigemptyset(&all);
    for (int number : kSignals)
        sigaddset(&all, number);
    return all;
}

int take_interruptions() {
    const sigset_t all = interruptions();
    const timespec at_once{};
    int found = 0;
    for (int number; (number = sigtimedwait(&all, nullptr, &at_once)) > 0 || errno == EINTR;)
        found = number > 0 ? number : found;
    return found;
}

HoldInterruption::HoldInterruption() {
    const sigset_t held = interruptions();
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
