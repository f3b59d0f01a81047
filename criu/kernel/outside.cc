#include "criu/kernel/outside.hh"

#include "base/fd_message.hh"
#include "criu/kernel/child.hh"

#include <cerrno>
#include <climits>
#include <csignal>
#include <fcntl.h>
#include <fmt/format.h>
#include <span>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace kernel {
namespace {

enum class Kind : uint32_t { Image, Mapping, Mount, Buffer };

/// Comes with the end that its answer goes to, and for Buffer with the socket.
struct Request {
    Kind kind{};
    int32_t option = 0, size = 0;
    uint64_t start = 0, end = 0;
    char name[PATH_MAX] = {};
};

using Descriptors = std::vector<base::UniqueFd>;

base::UniqueFd open_image_here(int directory, const char *name) {
    return base::UniqueFd(openat(directory, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
}

base::UniqueFd open_mapping_of(const std::string &process, uint64_t start, uint64_t end) {
    return base::UniqueFd(
        open(fmt::format("/proc/{}/map_files/{:x}-{:x}", process, start, end).c_str(), O_RDWR | O_CLOEXEC));
}

base::UniqueFd copy_mount_here(const char *path) {
    return base::UniqueFd(static_cast<int>(
        syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_NO_AUTOMOUNT)));
}

bool force_buffer_here(int socket, int option, int size) {
    return setsockopt(socket, SOL_SOCKET, option, &size, sizeof size) == 0;
}

/// Who has made the end that a request brings has sent it.
std::string sender_of(int end) {
    ucred peer{};
    socklen_t size = sizeof peer;
    getsockopt(end, SOL_SOCKET, SO_PEERCRED, &peer, &size);
    return std::to_string(peer.pid);
}

base::UniqueFd do_it(const Request &request, const Descriptors &given, int directory, int &code) {
    errno = 0;
    base::UniqueFd result;
    switch (request.kind) {
    case Kind::Image:
        result = open_image_here(directory, request.name);
        break;
    case Kind::Mapping:
        result = open_mapping_of(sender_of(given[0].get()), request.start, request.end);
        break;
    case Kind::Mount:
        result = copy_mount_here(request.name);
        break;
    case Kind::Buffer:
        code = force_buffer_here(given[1].get(), request.option, request.size) ? 0 : errno;
        return {};
    }
    code = result ? 0 : errno;
    return result;
}

[[noreturn]] void serve(int line, int directory) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, nullptr);
    setsid();
    prctl(PR_SET_NAME, "criu-outside");
    for (;;) {
        Request request;
        Descriptors given;
        if (base::receive_with_fds(line, &request, sizeof request, given) != sizeof request)
            _exit(0);
        if (given.size() != (request.kind == Kind::Buffer ? 2 : 1))
            continue;
        request.name[sizeof request.name - 1] = '\0';
        int code = 0;
        const base::UniqueFd result = do_it(request, given, directory, code);
        const int number = result.get();
        base::send_with_fds(given[0].get(), &code, sizeof code, std::span(&number, result ? 1 : 0));
    }
}

/// Sets errno where there is no descriptor in the answer, 0 included.
base::UniqueFd ask(int line, const Request &request, int with) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return {};
    const base::UniqueFd mine(ends[0]);
    base::UniqueFd theirs(ends[1]);
    const int fds[] = {theirs.get(), with};
    if (base::send_with_fds(line, &request, sizeof request, std::span(fds, with < 0 ? 1 : 2)) != sizeof request)
        return {};
    theirs.reset();
    Descriptors answer;
    int code = EIO;
    if (base::receive_with_fds(mine.get(), &code, sizeof code, answer) != sizeof code)
        code = EIO;
    errno = code;
    return answer.empty() ? base::UniqueFd() : std::move(answer.front());
}

} // namespace

base::Result<Outside> Outside::start(int directory) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return base::fail_sys("make a socket pair");
    Outside outside;
    outside.line_ = std::make_shared<base::UniqueFd>(ends[0]);
    const base::UniqueFd theirs(ends[1]);
    // Not our child: a coordinator collects all of its children when it fails.
    const auto apart = [&] {
        close(ends[0]);
        serve(ends[1], directory);
    };
    TRY_CTX(fork_apart(apart), "a process that does what the tree may not");
    return outside;
}

base::UniqueFd Outside::open_image(const std::string &name) const {
    Request request{.kind = Kind::Image};
    if (!line_ || name.size() >= sizeof request.name) {
        errno = EACCES;
        return {};
    }
    name.copy(request.name, name.size());
    return ask(line_->get(), request, -1);
}

base::UniqueFd Outside::open_mapping(uint64_t start, uint64_t end) const {
    base::UniqueFd fd = open_mapping_of("self", start, end);
    if (!fd && errno == EPERM && line_)
        fd = ask(line_->get(), {.kind = Kind::Mapping, .start = start, .end = end}, -1);
    return fd;
}

base::UniqueFd Outside::copy_mount(const std::string &path) const {
    base::UniqueFd fd = copy_mount_here(path.c_str());
    Request request{.kind = Kind::Mount};
    if (fd || !line_ || path.size() >= sizeof request.name)
        return fd;
    path.copy(request.name, path.size());
    return ask(line_->get(), request, -1);
}

bool Outside::force_buffer(int socket, int option, int size) const {
    if (force_buffer_here(socket, option, size))
        return true;
    if (errno != EPERM || !line_)
        return false;
    ask(line_->get(), {.kind = Kind::Buffer, .option = option, .size = size}, socket);
    return errno == 0;
}

} // namespace kernel
