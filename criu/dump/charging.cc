#include "criu/dump/charging.hh"

#include <fmt/format.h>
#include <fstream>
#include <string>

namespace dump {
namespace {

/// The lines of /proc/PID/cgroup that decide: the memory controller of version 1, the unified hierarchy.
std::string memory_cgroups(const std::string &path) {
    std::ifstream file(path);
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
