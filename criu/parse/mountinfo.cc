#include "criu/parse/mountinfo.hh"

#include "criu/parse/scan.hh"

namespace parse {

namespace {

bool scan_escaped(Scan &s, std::string &out) {
    if (!s.take(' '))
        return false;
    out = unescape_octal(s.word());
    return true;
}

/// Zero or more optional fields, ended by " -". Fields of later kernels are passed over, as proc(5) asks for.
bool scan_optional(Scan &s, Mount &mount) {
    while (s.take(' ')) {
        Scan field(s.word());
        if (field.rest() == "-")
            return true;
        bool ok = true;
        if (field.take("shared:"))
            ok = field.dec(mount.shared);
        else if (field.take("master:"))
            ok = field.dec(mount.master);
        else if (field.take("propagate_from:"))
            ok = field.dec(mount.propagate_from);
        else if (field.take("unbindable"))
            mount.unbindable = true;
        if (!ok)
            return false;
    }
    return false;
}

bool scan_mount(std::string_view line, Mount &mount) {
    Scan s(line);
    return s.dec(mount.id) && s.take(' ') && s.dec(mount.parent_id) && s.take(' ') && s.dec(mount.dev_major) &&
           s.take(':') && s.dec(mount.dev_minor) && scan_escaped(s, mount.root) && scan_escaped(s, mount.mount_point) &&
           scan_escaped(s, mount.options) && scan_optional(s, mount) && scan_escaped(s, mount.fs_type) &&
           scan_escaped(s, mount.source) && scan_escaped(s, mount.super_options);
}

} // namespace

Result<std::vector<Mount>> parse_mountinfo(std::string_view text) {
    std::vector<Mount> out;
    Lines lines(text);
    for (std::string_view line; lines.next(line);)
        if (!scan_mount(line, out.emplace_back()))
            return malformed("mountinfo", lines.number(), line);
    return out;
}

} // namespace parse
