// Being told to stop: SIGINT, SIGTERM, SIGHUP, SIGQUIT. They are held back while a command works on other people's
// tasks, and looked for between its steps, so that everything is put back in order before the program ends.
#pragma once

#include "base/result.hh"

#include <csignal>

namespace kernel {

/// Holds the signals back until it goes; one that came meanwhile takes effect then.
class HoldInterruption {
public:
    HoldInterruption();
    ~HoldInterruption();
    HoldInterruption(const HoldInterruption &) = delete;

private:
    sigset_t old_{};
};

/// The signals meant here.
sigset_t interruptions();

/// Takes those back that have come and are held; returns the number of one, or 0.
int take_interruptions();

/// Fails with System(EINTR) when one of the signals has come.
base::Result<void> check_interrupted();

} // namespace kernel
