// A list of keys, each with the member it fills. What a key means is decided by its name alone, except for three words
// that several kinds of file use: "Pid" (pidfd only), "flags" (always the status flags), "map_flags" (BPF).

#include "criu/parse/fdinfo.hh"

#include "criu/parse/scan.hh"

#include <array>

namespace parse {

namespace {

int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

/// " fhandle-bytes:8 fhandle-type:1 f_handle:1ac5030000000000", or nothing where the file system cannot encode one.
bool scan_handle(Scan &s, std::optional<FileHandle> &out) {
    s.blanks();
    if (s.at_end())
        return true;
    constexpr uint32_t kMaxHandle = 128; // MAX_HANDLE_SZ
    FileHandle handle;
    uint32_t size = 0;
    if (!(s.take("fhandle-bytes:") && s.hex(size) && s.take(" fhandle-type:") && s.hex(handle.type) &&
          s.take(" f_handle:")) ||
        size > kMaxHandle)
        return false;
    std::string_view digits = s.word();
    if (digits.size() != size * 2u)
        return false;
    for (size_t i = 0; i < digits.size(); i += 2) {
        int high = hex_digit(digits[i]), low = hex_digit(digits[i + 1]);
        if (high < 0 || low < 0)
            return false;
        handle.bytes.push_back(static_cast<uint8_t>(high * 16 + low));
    }
    out = std::move(handle);
    return true;
}

bool scan_epoll(Scan &s, FdInfo &out) {
    EpollTarget &t = out.epoll.emplace_back();
    auto key = [&](std::string_view name) { return s.blanks() && s.take(name) && s.blanks(); };
    if (!(s.blanks() && s.dec(t.fd) && key("events:") && s.hex(t.events) && key("data:") && s.hex(t.data)))
        return false;
    s.blanks();
    if (s.at_end()) // before 4.10
        return true;
    return key("pos:") && s.dec(t.pos) && key("ino:") && s.hex(t.inode) && key("sdev:") && s.hex(t.sdev);
}

bool scan_inotify(Scan &s, FdInfo &out) {
    InotifyMark &m = out.inotify.emplace_back();
    return s.take("wd:") && s.hex(m.wd) && s.take(" ino:") && s.hex(m.inode) && s.take(" sdev:") && s.hex(m.sdev) &&
           s.take(" mask:") && s.hex(m.mask) && s.take(" ignored_mask:") && s.hex(m.ignored_mask) &&
           scan_handle(s, m.handle);
}

bool scan_fanotify_masks(Scan &s, FanotifyMark &m) {
    return s.take(" mflags:") && s.hex(m.mflags) && s.take(" mask:") && s.hex(m.mask) && s.take(" ignored_mask:") &&
           s.hex(m.ignored_mask);
}

bool scan_fanotify(Scan &s, FdInfo &out) {
    if (!out.fanotify)
        out.fanotify.emplace();
    if (s.take("flags:"))
        return s.hex(out.fanotify->flags) && s.take(" event-flags:") && s.hex(out.fanotify->event_flags);
    FanotifyMark &m = out.fanotify->marks.emplace_back();
    if (s.take("ino:"))
        return s.hex(m.inode) && s.take(" sdev:") && s.hex(m.sdev) && scan_fanotify_masks(s, m) &&
               scan_handle(s, m.handle);
    if (s.take("mnt_id:")) {
        m.target = FanotifyTarget::Mount;
        return s.hex(m.mnt_id) && scan_fanotify_masks(s, m);
    }
    if (s.take("sdev:")) {
        m.target = FanotifyTarget::Superblock;
        return s.hex(m.sdev) && scan_fanotify_masks(s, m);
    }
    m.target = FanotifyTarget::MountNamespace;
    return s.take("mnt_ns:") && s.dec(m.mnt_ns) && scan_fanotify_masks(s, m);
}

bool scan_pair(Scan &s, uint64_t &sec, uint64_t &nsec) {
    return s.blanks() && s.take('(') && s.dec(sec) && s.take(", ") && s.dec(nsec) && s.take(')');
}

template <class T> T &ensure(std::optional<T> &slot) {
    return slot ? *slot : slot.emplace();
}

using Handler = bool (*)(Scan &, FdInfo &);
struct Key {
    std::string_view name;
    Handler handler;
};

constexpr std::array kCommon{
    Key{"pos", [](Scan &s, FdInfo &o) { return s.dec(o.pos); }},
    Key{"flags", [](Scan &s, FdInfo &o) { return s.oct(o.flags); }},
    Key{"mnt_id", [](Scan &s, FdInfo &o) { return s.dec(o.mnt_id); }},
    Key{"ino", [](Scan &s, FdInfo &o) { return s.dec(o.inode); }},
    Key{"tfd", scan_epoll},
    Key{"sigmask", [](Scan &s, FdInfo &o) { return s.hex(o.sigmask.emplace()); }},
    Key{"tty-index", [](Scan &s, FdInfo &o) { return s.dec(o.tty_index.emplace()); }},
    Key{"iff", [](Scan &s, FdInfo &o) { return o.tun_interface = s.rest(), true; }},
};

constexpr std::array kEvent{
    Key{"eventfd-count", [](Scan &s, FdInfo &o) { return s.hex(ensure(o.eventfd).count); }},
    Key{"eventfd-id", [](Scan &s, FdInfo &o) { return s.dec(ensure(o.eventfd).id.emplace()); }},
    Key{"eventfd-semaphore",
        [](Scan &s, FdInfo &o) {
            int value = 0;
            bool ok = s.dec(value);
            ensure(o.eventfd).semaphore = value != 0;
            return ok;
        }},
    Key{"clockid", [](Scan &s, FdInfo &o) { return s.dec(ensure(o.timerfd).clock_id); }},
    Key{"ticks", [](Scan &s, FdInfo &o) { return s.dec(ensure(o.timerfd).ticks); }},
    Key{"settime flags", [](Scan &s, FdInfo &o) { return s.oct(ensure(o.timerfd).settime_flags); }},
    Key{"it_value",
        [](Scan &s, FdInfo &o) { return scan_pair(s, ensure(o.timerfd).value_sec, ensure(o.timerfd).value_nsec); }},
    Key{"it_interval",
        [](Scan &s, FdInfo &o) {
            return scan_pair(s, ensure(o.timerfd).interval_sec, ensure(o.timerfd).interval_nsec);
        }},
};

constexpr std::array kOther{
    Key{"Pid", [](Scan &s, FdInfo &o) { return s.dec(ensure(o.pidfd).pid); }},
    Key{"NSpid",
        [](Scan &s, FdInfo &o) {
            for (; !s.at_end(); s.blanks())
                if (!s.dec(ensure(o.pidfd).ns_pids.emplace_back()))
                    return false;
            return true;
        }},
    Key{"map_type", [](Scan &s, FdInfo &o) { return s.dec(ensure(o.bpf_map).type); }},
    Key{"key_size", [](Scan &s, FdInfo &o) { return s.dec(ensure(o.bpf_map).key_size); }},
    Key{"value_size", [](Scan &s, FdInfo &o) { return s.dec(ensure(o.bpf_map).value_size); }},
    Key{"max_entries", [](Scan &s, FdInfo &o) { return s.dec(ensure(o.bpf_map).max_entries); }},
    Key{"map_flags", [](Scan &s, FdInfo &o) { return s.take("0x") && s.hex(ensure(o.bpf_map).flags); }},
    Key{"map_extra", [](Scan &s, FdInfo &o) { return s.take("0x") && s.hex(ensure(o.bpf_map).extra); }},
    Key{"map_id", [](Scan &s, FdInfo &o) { return s.dec(ensure(o.bpf_map).id); }},
    Key{"frozen",
        [](Scan &s, FdInfo &o) {
            int value = 0;
            bool ok = s.dec(value);
            ensure(o.bpf_map).frozen = value != 0;
            return ok;
        }},
};

Handler find_handler(std::string_view name) {
    for (const Key &key : kCommon)
        if (key.name == name)
            return key.handler;
    for (const Key &key : kEvent)
        if (key.name == name)
            return key.handler;
    for (const Key &key : kOther)
        if (key.name == name)
            return key.handler;
    return nullptr;
}

/// The first key that io_uring prints after the common ones. Its own keys ("Pid"-like words among them) stay text.
constexpr std::string_view kRingStart = "SqMask:";

bool scan_lock(std::string_view text, FdInfo &out) {
    auto lock = parse_lock_line(text);
    if (lock)
        out.locks.push_back(*lock);
    return lock.has_value();
}

bool scan_line(std::string_view line, FdInfo &out) {
    if (line.empty())
        return true;
    if (!out.io_uring.empty() || line.starts_with(kRingStart)) {
        out.io_uring.emplace_back(line);
        return true;
    }
    Scan s(line);
    if (s.take("inotify "))
        return scan_inotify(s, out);
    if (s.take("fanotify "))
        return scan_fanotify(s, out);
    std::string_view name = s.until(':');
    if (!s.take(':')) {
        out.other.emplace_back(std::string(line), std::string());
        return true;
    }
    s.blanks();
    if (name == "lock")
        return scan_lock(s.rest(), out);
    if (name == "memlock" && out.bpf_map)
        return s.dec(out.bpf_map->memlock);
    if (Handler handler = find_handler(name))
        return handler(s, out);
    out.other.emplace_back(std::string(name), std::string(s.rest()));
    return true;
}

} // namespace

Result<FdInfo> parse_fdinfo(std::string_view text) {
    FdInfo out;
    Lines lines(text);
    for (std::string_view line; lines.next(line);)
        if (!scan_line(line, out))
            return malformed("fdinfo", lines.number(), line);
    return out;
}

} // namespace parse
