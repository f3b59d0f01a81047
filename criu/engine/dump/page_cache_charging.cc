#include "criu/engine/dump/page_cache_charging.hh"

#include "criu/kernel/io.hh"
#include "criu/parse/limits.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <sstream>
#include <string>
#include <sys/resource.h>

namespace dump {
namespace {

/// The lines of /proc/PID/cgroup that decide: the memory controller of version 1, the unified hierarchy.
std::string memory_cgroups(const std::string &path) {
    std::istringstream file(kernel::read_file(AT_FDCWD, path.c_str()).value_or(std::string()));
    std::string all;
    for (std::string line; std::getline(file, line);)
        if (line.find("memory") != std::string::npos || line.starts_with("0:"))
            all += line + "\n";
    return all;
}

/// A file that grows beyond the limit would end it, by SIGXFSZ.
bool may_write_files(base::Pid pid) {
    auto text = kernel::read_file(AT_FDCWD, fmt::format("/proc/{}/limits", pid.value).c_str());
    auto limits = parse::parse_limits(text.value_or(std::string()));
    return limits && (*limits)[RLIMIT_FSIZE].soft == RLIM_INFINITY;
}

} // namespace

bool may_write_itself(base::Pid pid) {
    return may_write_files(pid) &&
           memory_cgroups(fmt::format("/proc/{}/cgroup", pid.value)) == memory_cgroups("/proc/self/cgroup");
}

} // namespace dump
