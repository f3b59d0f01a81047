#include "criu/parse/stat.hh"

#include "criu/parse/scan.hh"

namespace parse {

namespace {

template <class T> bool field(Scan &s, T &out) {
    return s.take(' ') && s.dec(out);
}

bool scan_identity(Scan &s, Stat &st) {
    return s.take(' ') && !s.at_end() && (st.state = s.rest().front(), s.take(st.state)) && field(s, st.ppid) &&
           field(s, st.pgrp) && field(s, st.session) && field(s, st.tty_nr) && field(s, st.tpgid) && field(s, st.flags);
}

bool scan_usage(Scan &s, Stat &st) {
    return field(s, st.minflt) && field(s, st.cminflt) && field(s, st.majflt) && field(s, st.cmajflt) &&
           field(s, st.utime) && field(s, st.stime) && field(s, st.cutime) && field(s, st.cstime) &&
           field(s, st.priority) && field(s, st.nice) && field(s, st.num_threads) && field(s, st.itrealvalue) &&
           field(s, st.starttime);
}

bool scan_memory(Scan &s, Stat &st) {
    return field(s, st.vsize) && field(s, st.rss) && field(s, st.rsslim) && field(s, st.start_code) &&
           field(s, st.end_code) && field(s, st.start_stack) && field(s, st.kstkesp) && field(s, st.kstkeip);
}

bool scan_signals(Scan &s, Stat &st) {
    return field(s, st.signal) && field(s, st.blocked) && field(s, st.sigignore) && field(s, st.sigcatch) &&
           field(s, st.wchan) && field(s, st.nswap) && field(s, st.cnswap) && field(s, st.exit_signal) &&
           field(s, st.processor) && field(s, st.rt_priority) && field(s, st.policy);
}

bool scan_tail(Scan &s, Stat &st) {
    return field(s, st.delayacct_blkio_ticks) && field(s, st.guest_time) && field(s, st.cguest_time) &&
           field(s, st.start_data) && field(s, st.end_data) && field(s, st.start_brk) && field(s, st.arg_start) &&
           field(s, st.arg_end) && field(s, st.env_start) && field(s, st.env_end) && field(s, st.exit_code);
}

} // namespace

Result<Stat> parse_stat(std::string_view text) {
    Stat st;
    Scan head(text);
    // The name is not escaped and may hold ") R 1": what counts is the last parenthesis.
    size_t close = text.rfind(')');
    if (!(head.dec(st.pid) && head.take(" (")) || close == std::string_view::npos ||
        close < text.size() - head.rest().size())
        return malformed("stat", 1, text);
    size_t open = text.size() - head.rest().size();
    st.comm = text.substr(open, close - open);
    Scan s(text.substr(close + 1));
    if (!(scan_identity(s, st) && scan_usage(s, st) && scan_memory(s, st) && scan_signals(s, st) && scan_tail(s, st)))
        return malformed("stat", 1, text);
    return st;
}

} // namespace parse
