#include "criu/kernel/readiness.hh"

#include "base/unique_fd.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace kernel {
namespace {

void leave_terminal() {
    setsid();
    const base::UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
    for (int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        dup2(null.get(), standard);
}

} // namespace

Result<void> say_ready(std::optional<int> status_fd) {
    const char ready = '\0';
    if (status_fd && (write(*status_fd, &ready, 1) != 1 || close(*status_fd) < 0))
        return base::fail_sys(fmt::format("--status-fd {}", *status_fd));
    return {};
}

Result<void> write_pidfile(int dirfd, const std::string &path, base::Pid pid) {
    if (path.empty())
        return {};
    constexpr mode_t kForAll = 0666;
    const base::UniqueFd file(openat(dirfd, path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, kForAll));
    const std::string text = std::to_string(pid.value);
    if (!file || write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
        return base::fail_sys(fmt::format("write {}", path));
    return {};
}

Result<bool> go_to_background(bool daemon, const std::string &pidfile) {
    const pid_t child = daemon ? fork() : 0;
    if (child < 0)
        return base::fail_sys("fork");
    if (child > 0 || !daemon) // the file is there when the command ends
        TRY(write_pidfile(AT_FDCWD, pidfile, base::Pid(daemon ? child : getpid())));
    if (child == 0 && daemon)
        leave_terminal();
    return child == 0;
}

} // namespace kernel
