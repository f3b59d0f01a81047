// The hierarchies of control groups of this machine, version 1 and 2, each mounted for us alone: nothing depends on
// where or whether the caller has them mounted, and nothing is left when we are gone.
#pragma once

#include "base/result.hh"
#include "base/unique_fd.hh"
#include "criu/parse/cgroup.hh"

#include <map>
#include <string>

namespace resource::cgroup {

using base::Result;

class Hierarchies {
public:
    /// `yard`: a directory where they are mounted already, under their names; empty: each is mounted for us alone.
    explicit Hierarchies(std::string yard = {}) : yard_(std::move(yard)) {}

    /// The root directory of the hierarchy that /proc/PID/cgroup calls `controllers` ("cpu,cpuacct", "name=systemd", ""
    /// for version 2). Stays ours. Errors: System where this machine has it otherwise.
    Result<int> open(const std::string &controllers);

private:
    std::string yard_;
    std::map<std::string, base::UniqueFd> roots_;
};

/// `path` of the hierarchy, relative to its root: "." for the root itself.
std::string relative(const std::string &path);

} // namespace resource::cgroup
