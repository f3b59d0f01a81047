#include "criu/engine/page_server/page_server.hh"

#include "criu/engine/page_server/receiver.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace page_server {
namespace {

/// The sender closes the connection behind the last answer. Whatever it says instead shows that the two do not
/// understand each other.
Result<void> await_end(pages::Channel &channel) {
    std::byte more{};
    if (TRY(channel.receive_some(std::span(&more, 1))) != 0)
        return base::bad_image("page server: Unexpected data behind the end");
    return {};
}

Result<void> take_memory(const engine::PageServerRequest &request, pages::Channel &channel, base::Log &log) {
    const auto images = TRY(image::ImageDir::open(request.images_dir_fd));
    auto writer = TRY(image::ImageDirWriter::open(request.images_dir_fd));
    auto receiver = TRY(Receiver::open(channel, images, writer));
    TRY(receiver.run());
    log.info(fmt::format("page server: {} pages", receiver.pages()));
    return request.link.endpoint.socket < 0 ? await_end(channel) : Result<void>();
}

void leave_terminal() {
    setsid();
    const base::UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
    for (int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        dup2(null.get(), standard);
}

} // namespace

Result<Server> Server::open(const engine::PageServerRequest &request) {
    Server server;
    if (request.link.endpoint.socket >= 0)
        server.given_ = TRY(pages::given_socket(request.link.endpoint.socket));
    else
        server.listening_ = TRY(pages::listen_at(request.link.endpoint));
    return server;
}

Result<void> Server::serve(const engine::PageServerRequest &request, base::Log &log) {
    base::UniqueFd socket = listening_ ? TRY(pages::accept_one(*listening_)) : std::move(given_);
    const auto channel = TRY(pages::accepted_channel(request.link, std::move(socket)));
    return take_memory(request, *channel, log);
}

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

namespace {

Result<void> run_server(const engine::PageServerRequest &request, engine::Notifier &notifier, base::Log &log) {
    Server server = TRY(Server::open(request));
    if (server.port())
        log.info(fmt::format("Using {} port", server.port()));
    const pid_t child = request.daemon ? fork() : 0;
    if (child < 0)
        return base::fail_sys("fork");
    if (child > 0) // the file is there when we end
        return write_pidfile(request.pidfile, base::Pid(child));
    if (request.daemon)
        leave_terminal();
    else
        TRY(write_pidfile(request.pidfile, base::Pid(getpid())));
    TRY(say_ready(request.status_fd));
    TRY(notifier.tell("status-ready", {}));
    return server.serve(request, log);
}

} // namespace

Result<void> run(const engine::PageServerRequest &request, engine::Notifier &notifier, base::Log &log) {
    TRY_CTX(run_server(request, notifier, log), "page-server");
    return {};
}

} // namespace page_server
