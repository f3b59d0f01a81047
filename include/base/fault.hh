// Failing on purpose. Built in only by -Dfault_injection=true: every TRY is a step at which the tool can then be told
// to fail or to die. test/zdtm/run --walk visits them all.
//
// CRIU_FAULT=list:FILE       appends the name (source:line) of each step to FILE as it is first reached
// CRIU_FAULT=fail:source:N   the step's expression is not evaluated: an error comes out
// CRIU_FAULT=kill:source:N   SIGKILL before the step, to the process that is there first (the tool, or a task of a
// restore)
#pragma once

#ifdef CRIU_FAULT_INJECTION

#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <set>
#include <string>
#include <string_view>
#include <unistd.h>

namespace base::fault {

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

/// Whether the step fails now.
inline bool strikes(const char *file, int line) {
    static const char *const order = getenv("CRIU_FAULT");
    static bool struck = false;
    if (!order || struck)
        return false;
    const std::string_view wanted = order;
    std::string_view source = file;
    while (source.starts_with("../"))
        source.remove_prefix(3);
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
    if (::base::fault::strikes(__FILE__, __LINE__))                                                                    \
        return ::base::fail(::base::ErrorKind::System, "a fault was injected");

#else
#define CRIU_FAULT_STEP
#endif
