#include "criu/kernel/readiness.hh"

#include "base/unique_fd.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace kernel {

Result<void> say_ready(std::optional<int> status_fd) {
    const char ready = '\0';
    if (status_fd && (write(*status_fd, &ready, 1) != 1 || close(*status_fd) < 0))
        return base::fail_sys(fmt::format("--status-fd {}", *status_fd));
    return {};
}

Result<void> write_pidfile(const std::string &path, base::Pid pid) {
    if (path.empty())
        return {};
    constexpr mode_t kForAll = 0666;
    const base::UniqueFd file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, kForAll));
    const std::string text = std::to_string(pid.value);
    if (!file || write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
        return base::fail_sys(fmt::format("write {}", path));
    return {};
}

} // namespace kernel
