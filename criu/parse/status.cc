#include "criu/parse/status.hh"

#include "criu/parse/scan.hh"

namespace parse {

namespace {

/// The kernel writes a newline in a name as "\n" and a backslash as "\\" (proc_task_name).
std::string unescape_name(std::string_view text) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
        char next = i + 1 < text.size() ? text[i + 1] : '\0';
        if (text[i] == '\\' && (next == 'n' || next == '\\')) {
            out.push_back(next == 'n' ? '\n' : '\\');
            ++i;
        } else {
            out.push_back(text[i]);
        }
    }
    return unescape_octal(out);
}

template <class T> bool list(Scan &s, std::vector<T> &out) {
    for (s.blanks(); !s.at_end(); s.blanks())
        if (!s.dec(out.emplace_back()))
            return false;
    return true;
}

bool four(Scan &s, std::array<uint32_t, 4> &out) {
    for (uint32_t &id : out)
        if (!(s.blanks() && s.dec(id)))
            return false;
    return true;
}

template <class T> bool dec(Scan &s, T &out) {
    return s.blanks() && s.dec(out);
}
bool hex(Scan &s, uint64_t &out) {
    return s.blanks() && s.hex(out);
}

template <class T> bool dec(Scan &s, std::optional<T> &out) {
    return dec(s, out.emplace());
}

bool flag(Scan &s, bool &out) {
    int value = 0;
    bool ok = dec(s, value);
    out = value != 0;
    return ok;
}

bool text(Scan &s, std::string &out) {
    s.blanks();
    out = s.rest();
    while (out.ends_with(' '))
        out.pop_back();
    return true;
}

bool scan_ids(std::string_view key, Scan &s, Status &st, bool &known) {
    known = true;
    if (key == "Name") {
        s.take('\t');
        st.name = unescape_name(s.rest());
        return true;
    }
    if (key == "State") {
        s.blanks();
        st.state = s.at_end() ? '?' : s.rest().front();
        return !s.at_end();
    }
    if (key == "Umask")
        return s.blanks() && s.oct(st.umask.emplace());
    if (key == "Tgid")
        return dec(s, st.tgid);
    if (key == "Ngid")
        return dec(s, st.ngid);
    if (key == "Pid")
        return dec(s, st.pid);
    if (key == "PPid")
        return dec(s, st.ppid);
    if (key == "TracerPid")
        return dec(s, st.tracer_pid);
    if (key == "Uid")
        return four(s, st.uid);
    if (key == "Gid")
        return four(s, st.gid);
    if (key == "FDSize")
        return dec(s, st.fd_size);
    if (key == "Groups")
        return list(s, st.groups);
    if (key == "NStgid")
        return list(s, st.ns_tgid);
    if (key == "NSpid")
        return list(s, st.ns_pid);
    if (key == "NSpgid")
        return list(s, st.ns_pgid);
    if (key == "NSsid")
        return list(s, st.ns_sid);
    if (key == "Kthread")
        return flag(s, st.kthread);
    known = false;
    return true;
}

bool scan_memory(std::string_view key, Scan &s, Status &st, bool &known) {
    known = true;
    if (key == "VmSize") {
        st.has_mm = true;
        return dec(s, st.vm_size_kb);
    }
    if (key == "VmLck")
        return dec(s, st.vm_locked_kb);
    if (key == "VmPin")
        return dec(s, st.vm_pinned_kb);
    if (key == "VmRSS")
        return dec(s, st.vm_rss_kb);
    if (key == "VmSwap")
        return dec(s, st.vm_swap_kb);
    if (key == "HugetlbPages")
        return dec(s, st.hugetlb_kb);
    if (key == "CoreDumping")
        return dec(s, st.core_dumping);
    if (key == "THP_enabled")
        return dec(s, st.thp_enabled);
    if (key == "untag_mask")
        return s.blanks() && s.take("0x") && s.hex(st.untag_mask.emplace());
    known = false;
    return true;
}

bool scan_signals(std::string_view key, Scan &s, Status &st, bool &known) {
    known = true;
    if (key == "Threads")
        return dec(s, st.threads);
    if (key == "SigQ")
        return dec(s, st.sigq_used) && s.take('/') && s.dec(st.sigq_limit);
    if (key == "SigPnd")
        return hex(s, st.sig_pending);
    if (key == "ShdPnd")
        return hex(s, st.shd_pending);
    if (key == "SigBlk")
        return hex(s, st.sig_blocked);
    if (key == "SigIgn")
        return hex(s, st.sig_ignored);
    if (key == "SigCgt")
        return hex(s, st.sig_caught);
    known = false;
    return true;
}

bool scan_security(std::string_view key, Scan &s, Status &st) {
    if (key == "CapInh")
        return hex(s, st.cap_inh);
    if (key == "CapPrm")
        return hex(s, st.cap_prm);
    if (key == "CapEff")
        return hex(s, st.cap_eff);
    if (key == "CapBnd")
        return hex(s, st.cap_bnd);
    if (key == "CapAmb")
        return hex(s, st.cap_amb);
    if (key == "NoNewPrivs")
        return flag(s, st.no_new_privs);
    if (key == "Seccomp")
        return dec(s, st.seccomp);
    if (key == "Seccomp_filters")
        return dec(s, st.seccomp_filters);
    if (key == "x86_Thread_features")
        return text(s, st.x86_thread_features);
    if (key == "x86_Thread_features_locked")
        return text(s, st.x86_thread_features_locked);
    if (key == "Cpus_allowed")
        return text(s, st.cpus_allowed);
    if (key == "Mems_allowed")
        return text(s, st.mems_allowed);
    return true; // kernels add lines freely
}

bool scan_line(std::string_view line, Status &st) {
    Scan s(line);
    std::string_view key = s.until(':');
    if (!s.take(':'))
        return false;
    bool known = false;
    bool ok = scan_ids(key, s, st, known);
    if (!known)
        ok = scan_memory(key, s, st, known);
    if (!known)
        ok = scan_signals(key, s, st, known);
    return known ? ok : scan_security(key, s, st);
}

} // namespace

Result<Status> parse_status(std::string_view text) {
    Status st;
    Lines lines(text);
    for (std::string_view line; lines.next(line);)
        if (!scan_line(line, st))
            return malformed("status", lines.number(), line);
    if (st.pid == 0 || st.tgid == 0)
        return malformed("status", lines.number(), "no Pid or Tgid");
    return st;
}

} // namespace parse
