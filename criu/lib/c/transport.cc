#include "criu/lib/c/transport.hh"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

namespace lib {
namespace {

/// In the child of a program that may have threads: nothing but system calls until the exec.
[[noreturn]] void become_criu(int socket, const char *program, const char *number, Who who) {
    constexpr int kNotFound = 127;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_UNBLOCK, &set, nullptr);
    if (who == Who::Stranger) {
        const pid_t child = fork();
        if (child != 0)
            _exit(child < 0 ? kNotFound : 0);
        setsid();
    }
    const pid_t self = getpid(); // the other end waits for it
    if (write(socket, &self, sizeof self) == sizeof self)
        execlp(program, program, "swrk", number, nullptr);
    _exit(kNotFound);
}

} // namespace

Conversation::~Conversation() {
    const int error = errno;
    own_.reset();
    if (child_ > 0)
        while (waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
        }
    errno = error;
}

int Conversation::start_program(Who who) {
    int ends[2];
    if (socketpair(PF_LOCAL, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return -ECONNREFUSED;
    own_ = base::UniqueFd(ends[0]);
    base::UniqueFd theirs(ends[1]);
    const std::string program = opts_.service.empty() ? "criu" : opts_.service;
    // A copy that lives on through the exec, made by the child of its own end only.
    const int inherited = dup(theirs.get());
    const std::string number = std::to_string(inherited);
    child_ = inherited < 0 ? -1 : fork();
    if (child_ == 0)
        become_criu(inherited, program.c_str(), number.c_str(), who);
    const int error = errno;
    close(inherited);
    theirs.reset();
    errno = error;
    if (child_ < 0)
        return -ECONNREFUSED;
    if (who == Who::Stranger) { // the child has gone at once, its child serves
        while (waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
        }
        child_ = 0;
    }
    pid_t server = 0;
    if (recv(own_.get(), &server, sizeof server, 0) != sizeof server)
        return -ECONNREFUSED;
    fd_ = own_.get();
    return 0;
}

int Conversation::connect_to_service() {
    const std::string path = opts_.service.empty() ? "./criu_service.socket" : opts_.service;
    sockaddr_un address{};
    address.sun_family = AF_LOCAL;
    if (path.size() >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -ECONNREFUSED;
    }
    path.copy(address.sun_path, path.size());
    own_ = base::UniqueFd(socket(AF_LOCAL, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
    if (!own_ || ::connect(own_.get(), reinterpret_cast<const sockaddr *>(&address), size) < 0)
        return -ECONNREFUSED;
    fd_ = own_.get();
    return 0;
}

int Conversation::connect(Who who) {
    switch (opts_.reached_by) {
    case CRIU_COMM_SK:
        return connect_to_service();
    case CRIU_COMM_FD:
        fd_ = opts_.service_fd;
        return 0;
    case CRIU_COMM_BIN:
        return start_program(who);
    }
    return -ECONNREFUSED;
}

int Conversation::send(const CriuReq &request) {
    std::string bytes(criu_req__get_packed_size(&request), '\0');
    criu_req__pack(&request, reinterpret_cast<uint8_t *>(bytes.data()));
    ssize_t sent;
    do
        sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -ECOMM : 0;
}

int Conversation::receive(Answer &answer) {
    ssize_t size;
    do
        size = recv(fd_, nullptr, 0, MSG_PEEK | MSG_TRUNC);
    while (size < 0 && errno == EINTR);
    if (size < 0)
        return -ECOMM;
    std::string bytes(static_cast<size_t>(size), '\0');
    iovec data{bytes.data(), bytes.size()};
    int descriptor = -1;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof descriptor)] = {};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    size = recvmsg(fd_, &message, MSG_CMSG_CLOEXEC);
    if (size <= 0) {
        errno = size == 0 ? ECONNRESET : errno;
        return -ECOMM;
    }
    if (message.msg_flags & MSG_CTRUNC) {
        errno = ENFILE;
        return -ECOMM;
    }
    const cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS)
        memcpy(&descriptor, CMSG_DATA(head), sizeof descriptor);
    answer.reset(
        criu_resp__unpack(nullptr, static_cast<size_t>(size), reinterpret_cast<const uint8_t *>(bytes.data())));
    const bool terminal_comes = answer && answer->type == CRIU_REQ_TYPE__NOTIFY && answer->notify &&
                                answer->notify->script && strcmp(answer->notify->script, "orphan-pts-master") == 0;
    if (terminal_comes)
        terminal = descriptor;
    else if (descriptor >= 0)
        close(descriptor);
    if (answer)
        return 0;
    errno = EBADMSG;
    return -ECOMM;
}

int Conversation::answer_notification(CriuResp &notification) {
    const int said =
        opts_.notify && notification.notify ? opts_.notify(notification.notify->script, notification.notify) : 0;
    CriuReq reply = CRIU_REQ__INIT;
    reply.type = CRIU_REQ_TYPE__NOTIFY;
    reply.has_notify_success = true;
    reply.notify_success = said == 0;
    return send(reply);
}

int Conversation::ask(const CriuReq &request, Answer &answer) {
    if (const int failed = send(request))
        return failed;
    for (;;) {
        if (const int failed = receive(answer))
            return failed;
        if (answer->type != CRIU_REQ_TYPE__NOTIFY)
            break;
        if (const int failed = answer_notification(*answer))
            return failed;
    }
    if (answer->cr_errmsg && !answer->success)
        opts_.message = answer->cr_errmsg;
    if (answer->type == request.type)
        return 0;
    errno = answer->has_cr_errno ? answer->cr_errno : 0;
    return answer->type == CRIU_REQ_TYPE__EMPTY && !answer->success ? -EINVAL : -EBADMSG;
}

} // namespace lib
