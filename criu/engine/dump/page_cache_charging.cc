#include "criu/engine/dump/page_cache_charging.hh"

#include "criu/kernel/io.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <sstream>
#include <string>

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

} // namespace

bool may_write_itself(base::Pid pid) {
    return memory_cgroups(fmt::format("/proc/{}/cgroup", pid.value)) == memory_cgroups("/proc/self/cgroup");
}

} // namespace dump
