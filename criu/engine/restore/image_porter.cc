#include "criu/engine/restore/image_porter.hh"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace restore {
namespace {

/// A word, and a descriptor on its way with it.
struct Letter {
    char text[NAME_MAX + 16] = {};
    ssize_t length = 0;
    base::UniqueFd fd;

    bool receive(int line) {
        alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
        iovec part{text, sizeof text - 1};
        msghdr head{};
        head.msg_iov = &part, head.msg_iovlen = 1;
        head.msg_control = control, head.msg_controllen = sizeof control;
        do
            length = recvmsg(line, &head, MSG_CMSG_CLOEXEC);
        while (length < 0 && errno == EINTR);
        cmsghdr *given = length > 0 ? CMSG_FIRSTHDR(&head) : nullptr;
        if (given && given->cmsg_type == SCM_RIGHTS) {
            int number = -1;
            std::memcpy(&number, CMSG_DATA(given), sizeof number);
            fd.reset(number);
        }
        return length > 0;
    }
};

bool send_letter(int line, const void *text, size_t length, int fd) {
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    iovec part{const_cast<void *>(text), length};
    msghdr head{};
    head.msg_iov = &part, head.msg_iovlen = 1;
    if (fd >= 0) {
        head.msg_control = control, head.msg_controllen = sizeof control;
        cmsghdr *given = CMSG_FIRSTHDR(&head);
        given->cmsg_level = SOL_SOCKET, given->cmsg_type = SCM_RIGHTS, given->cmsg_len = CMSG_LEN(sizeof fd);
        std::memcpy(CMSG_DATA(given), &fd, sizeof fd);
    }
    return sendmsg(line, &head, MSG_NOSIGNAL) == static_cast<ssize_t>(length);
}

/// Each request brings the end that its answer goes to: an errno, and with 0 the file.
[[noreturn]] void serve(int line, int directory) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, nullptr);
    setsid();
    prctl(PR_SET_NAME, "criu-images");
    for (;;) {
        Letter request;
        if (!request.receive(line))
            _exit(0);
        const base::UniqueFd file(openat(directory, request.text, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
        const int code = file ? 0 : errno;
        send_letter(request.fd.get(), &code, sizeof code, file.get());
    }
}

/// Not our child: the coordinator collects all of its children when it fails.
Result<void> fork_apart(int ours, int theirs, int directory) {
    const pid_t between = fork();
    if (between < 0)
        return base::fail_sys("fork the porter of images");
    if (between == 0) {
        close(ours);
        const pid_t porter = fork();
        if (porter == 0)
            serve(theirs, directory);
        _exit(porter < 0);
    }
    int status = 0;
    while (waitpid(between, &status, 0) < 0 && errno == EINTR) {
    }
    return status == 0 ? Result<void>() : base::fail_sys(EAGAIN, "fork the porter of images");
}

base::UniqueFd fetch(int line, const std::string &name) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return {};
    const base::UniqueFd mine(ends[0]);
    base::UniqueFd theirs(ends[1]);
    if (!send_letter(line, name.c_str(), name.size() + 1, theirs.get()))
        return {};
    theirs.reset();
    Letter answer;
    int code = EIO;
    if (answer.receive(mine.get()) && answer.length == sizeof code)
        std::memcpy(&code, answer.text, sizeof code);
    errno = code;
    return std::move(answer.fd);
}

} // namespace

Result<ImagePorter> ImagePorter::start(image::ImageDir &images) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return base::fail_sys("make a socket pair");
    ImagePorter porter;
    porter.line_.reset(ends[0]);
    const base::UniqueFd theirs(ends[1]);
    TRY(fork_apart(ends[0], ends[1], images.fd()));
    images.ask([line = ends[0]](const std::string &name) { return fetch(line, name); });
    return porter;
}

} // namespace restore
