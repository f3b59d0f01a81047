#include "criu/kernel/scripts.hh"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace kernel {
namespace {

std::vector<std::string> environment_for(const char *hook, std::optional<base::Pid> root, int images_dir_fd) {
    std::vector<std::string> all;
    for (char **variable = environ; *variable; variable++)
        if (!std::string_view(*variable).starts_with("CRTOOLS_"))
            all.emplace_back(*variable);
    all.push_back(fmt::format("CRTOOLS_SCRIPT_ACTION={}", hook));
    all.push_back(fmt::format("CRTOOLS_IMAGE_DIR=/proc/{}/fd/{}", getpid(), images_dir_fd));
    if (root)
        all.push_back(fmt::format("CRTOOLS_INIT_PID={}", root->value));
    return all;
}

base::Result<int> run_one(const std::string &path, std::vector<std::string> &environment) {
    std::vector<char *> pointers;
    for (std::string &variable : environment)
        pointers.push_back(variable.data());
    pointers.push_back(nullptr);
    std::string program = path;
    char *argv[] = {program.data(), nullptr};
    pid_t pid = 0;
    // It is nobody's business what we hold back and ignore.
    posix_spawnattr_t attributes;
    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    sigaddset(&defaults, SIGXFSZ);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    const int error = posix_spawn(&pid, program.c_str(), nullptr, &attributes, argv, pointers.data());
    posix_spawnattr_destroy(&attributes);
    if (error)
        return base::fail_sys(error, fmt::format("run {}", path));
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return base::fail_sys(fmt::format("wait for {}", path));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

} // namespace

base::Result<int> Scripts::run_for_status(const char *hook, std::optional<base::Pid> root) const {
    auto environment = environment_for(hook, root, images_dir_fd_);
    int first = 0;
    for (auto path = paths_.rbegin(); path != paths_.rend(); ++path) {
        int status = TRY_CTX(run_one(*path, environment), fmt::format("action script at {}", hook));
        if (!first)
            first = status;
    }
    return first;
}

base::Result<void> Scripts::run(const char *hook, std::optional<base::Pid> root) const {
    if (int status = TRY(run_for_status(hook, root)))
        return base::fail(base::ErrorKind::System,
                          fmt::format("an action script failed at {} with status {}", hook, status));
    return {};
}

} // namespace kernel
