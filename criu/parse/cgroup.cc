#include "criu/parse/cgroup.hh"

#include "criu/parse/scan.hh"

namespace parse {

Result<std::vector<CgroupMembership>> parse_cgroup(std::string_view text) {
    std::vector<CgroupMembership> out;
    Lines lines(text);
    for (std::string_view line; lines.next(line);) {
        CgroupMembership &entry = out.emplace_back();
        Scan s(line);
        if (!(s.dec(entry.hierarchy) && s.take(':')))
            return malformed("cgroup", lines.number(), line);
        Scan names(s.until(':'));
        while (!names.at_end()) {
            entry.controllers.emplace_back(names.until(','));
            names.take(',');
        }
        if (!s.take(':'))
            return malformed("cgroup", lines.number(), line);
        entry.path = s.rest();
    }
    return out;
}

} // namespace parse
