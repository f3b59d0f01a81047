#include "criu/cli/foreground.hh"

#include "criu/kernel/interruption.hh"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

namespace cli {
namespace {

void say_that_it_runs(int number, base::Pid root, const Options &options, base::Log &log) {
    const std::string text =
        fmt::format("restore: {}: criu ends, and the restored tree runs on as process {}. To end it: kill {}",
                    strsignal(number), root.value, root.value);
    log.warn(text);
    if (!options.log_file.empty())
        fmt::print(stderr, "Warning: {}\n", text);
}

/// Collects children; false when there are none left. Stopped ones are told to the terminal's owner.
bool collect(pid_t root, JobTerminal &terminal) {
    int status = 0;
    for (pid_t child; (child = waitpid(-1, &status, WNOHANG | (terminal.is_lent() ? WUNTRACED : 0))) != 0;) {
        if (child < 0)
            return errno != ECHILD;
        if (WIFSTOPPED(status) && child == root)
            terminal.stop_with_job();
    }
    return true;
}

} // namespace

HeldSignals::HeldSignals() : heeded_(kernel::interruptions()) {
    for (int number = 1; number < SIGRTMIN; number++) {
        struct sigaction action {};
        if (sigismember(&heeded_, number) == 1 && sigaction(number, nullptr, &action) == 0 &&
            action.sa_handler == SIG_IGN)
            sigdelset(&heeded_, number);
    }
    sigset_t held = kernel::interruptions();
    sigaddset(&held, SIGCHLD); // see wait_for_tree()
    sigprocmask(SIG_BLOCK, &held, &old_);
}

void HeldSignals::release() {
    sigprocmask(SIG_SETMASK, &old_, nullptr);
}

base::Result<void> JobTerminal::tell(const char *hook, std::optional<base::Pid> root) {
    if (lends_ && root && std::strcmp(hook, "pre-resume") == 0)
        lend(getpgid(root->value));
    return ScriptNotifier::tell(hook, root);
}

void JobTerminal::lend(pid_t group) {
    if (group <= 0 || group == getpgrp())
        return; // a part of our own job
    terminal_.reset(open("/dev/tty", O_RDWR | O_CLOEXEC));
    if (!terminal_ || tcgetpgrp(terminal_.get()) != getpgrp() || tcsetpgrp(terminal_.get(), group) != 0)
        return;
    group_ = group;
}

void JobTerminal::take_back() {
    if (!is_lent())
        return;
    // From the background that would stop us.
    sigset_t background, old;
    sigemptyset(&background);
    sigaddset(&background, SIGTTOU);
    sigprocmask(SIG_BLOCK, &background, &old);
    if (tcgetpgrp(terminal_.get()) == group_)
        tcsetpgrp(terminal_.get(), getpgrp());
    sigprocmask(SIG_SETMASK, &old, nullptr);
}

void JobTerminal::stop_with_job() {
    take_back();
    kill(getpid(), SIGSTOP);
    if (tcgetpgrp(terminal_.get()) == getpgrp())
        tcsetpgrp(terminal_.get(), group_);
    kill(-group_, SIGCONT);
}

int wait_for_tree(const engine::RestoreOutcome &outcome, HeldSignals &signals, JobTerminal &terminal,
                  const Options &options, base::Log &log) {
    if (outcome.asked_to_end) { // when it could not be undone any more: it has worked
        say_that_it_runs(outcome.asked_to_end, outcome.root, options, log);
        return 0;
    }
    sigset_t wanted = signals.heeded();
    sigaddset(&wanted, SIGCHLD);
    while (collect(outcome.root.value, terminal)) {
        const int number = sigwaitinfo(&wanted, nullptr);
        if (number <= 0 || number == SIGCHLD)
            continue;
        say_that_it_runs(number, outcome.root, options, log);
        signal(number, SIG_DFL);
        raise(number);
        signals.release();
        return 0; // the caller has blocked it
    }
    return 0;
}

} // namespace cli
