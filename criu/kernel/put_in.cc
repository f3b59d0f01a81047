#include "criu/kernel/put_in.hh"

#include "base/listing.hh"
#include "criu/kernel/io.hh"

#include <charconv>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

namespace kernel {
namespace {

/// Inode number of the pid namespace of a process; 0 if it is gone.
ino_t namespace_of(pid_t pid) {
    struct stat st {};
    return stat(fmt::format("/proc/{}/ns/pid", pid).c_str(), &st) == 0 ? st.st_ino : 0;
}

/// The last number in a line of /proc/PID/status; 0 if the process is gone.
pid_t last_number(pid_t pid, std::string_view field) {
    auto text = read_file(AT_FDCWD, fmt::format("/proc/{}/status", pid).c_str());
    const size_t line = text ? text->find(field) : std::string::npos;
    if (line == std::string::npos)
        return 0;
    const size_t end = text->find('\n', line + 1), start = text->find_last_of(" \t", end) + 1;
    return static_cast<pid_t>(strtol(text->c_str() + start, nullptr, 10));
}

} // namespace

std::vector<base::Pid> put_in(base::Pid init) {
    std::vector<base::Pid> found;
    const ino_t inside = namespace_of(init.value);
    struct stat ours {};
    if (!inside || stat("/proc/self/ns/pid", &ours) < 0 || ours.st_ino == inside ||
        last_number(init.value, "\nNSpid:") != 1)
        return found;
    base::UniqueFd proc(open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    auto names = proc ? base::list_names(proc.get(), DT_DIR) : base::fail_sys("open /proc");
    if (!names)
        return found;
    for (const std::string &name : *names) {
        pid_t pid = 0;
        const auto [rest, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
        if (error != std::errc() || *rest || pid == init.value || namespace_of(pid) != inside)
            continue;
        if (const pid_t parent = last_number(pid, "\nPPid:"); !parent || namespace_of(parent) != inside)
            found.emplace_back(pid);
    }
    return found;
}

} // namespace kernel
