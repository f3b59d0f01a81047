// Failing on purpose: every TRY is a step at which the tool can be told to fail or to die. test/zdtm/run --walk visits
// them all. It is part of every build, so that what is tested is what is shipped; without the variable, a step costs
// one test of a constant.
//
// CRIU_STRIKE=list:FILE       appends the name (source:line) of each step to FILE as it is first reached
// CRIU_STRIKE=fail:source:N   the step's expression is not evaluated: an error comes out
// CRIU_STRIKE=kill:source:N   SIGKILL before the step, to the process that is there first (the tool, or a task of a
// restore)
#pragma once

#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <set>
#include <string>
#include <string_view>
#include <unistd.h>

namespace base::fault {

/// What the caller wants to see; nothing where a caller with fewer rights than we have has set the environment.
inline const char *const order = secure_getenv("CRIU_STRIKE");

inline void list(const std::string &step, const char *path) {
    static std::set<std::string> seen;
    if (!seen.insert(step).second)
        return;
    const std::string line = step + "\n";
    const int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    if (write(fd, line.data(), line.size()) < 0)
        abort();
    close(fd);
}

/// Whether the step fails now. Only where there is an order.
[[gnu::cold, gnu::noinline]] inline bool strikes(const char *file, int line) {
    static bool struck = false;
    if (struck)
        return false;
    const std::string_view wanted = order;
    std::string_view source = file; // relative to the build folder, or behind a path that leads there
    if (const size_t up = source.rfind("../"); up != source.npos)
        source.remove_prefix(up + 3);
    const std::string step = std::string(source) + ":" + std::to_string(line);
    if (wanted.starts_with("list:"))
        list(step, order + 5);
    struck = wanted.size() > 5 && wanted.substr(5) == step && !wanted.starts_with("list:");
    if (struck && wanted.starts_with("kill:"))
        kill(getpid(), SIGKILL);
    return struck;
}

} // namespace base::fault

#define CRIU_FAULT_STEP                                                                                                \
    if (__builtin_expect(::base::fault::order != nullptr, 0) && ::base::fault::strikes(__FILE__, __LINE__))            \
        return ::base::injected_fault();
