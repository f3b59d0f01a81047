#include "criu/parse/timers.hh"

#include "criu/parse/scan.hh"

namespace parse {

namespace {

bool scan_notify(Scan &s, PosixTimer &timer) {
    std::string_view kind = s.until('/');
    if (kind == "signal")
        timer.notify = TimerNotify::Signal;
    else if (kind == "none")
        timer.notify = TimerNotify::None;
    else if (kind == "thread")
        timer.notify = TimerNotify::Thread;
    else
        return false;
    timer.to_thread = s.take("/tid.");
    return (timer.to_thread || s.take("/pid.")) && s.dec(timer.target);
}

bool scan_line(std::string_view line, std::vector<PosixTimer> &out) {
    Scan s(line);
    if (s.take("ID: "))
        return s.dec(out.emplace_back().id);
    if (out.empty())
        return false;
    PosixTimer &timer = out.back();
    if (s.take("signal: ")) {
        if (!(s.dec(timer.signo) && s.take('/')))
            return false;
        s.take("0x");
        return s.hex(timer.sigval);
    }
    if (s.take("notify: "))
        return scan_notify(s, timer);
    if (s.take("ClockID: "))
        return s.dec(timer.clock_id);
    return true; // a line of a later kernel
}

} // namespace

Result<std::vector<PosixTimer>> parse_timers(std::string_view text) {
    std::vector<PosixTimer> out;
    Lines lines(text);
    for (std::string_view line; lines.next(line);)
        if (!scan_line(line, out))
            return malformed("timers", lines.number(), line);
    return out;
}

} // namespace parse
