#include "criu/engine/page_server/page_server.hh"

#include "base/guarded.hh"
#include "criu/engine/page_server/image_giver.hh"
#include "criu/engine/page_server/receiver.hh"
#include "criu/kernel/child.hh"
#include "criu/kernel/io.hh"
#include "criu/kernel/readiness.hh"

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

/// What holes are looked up in.
Result<void> link_parent(int images_dir, const std::string &previous) {
    if (previous.empty())
        return {};
    if (faccessat(images_dir, previous.c_str(), R_OK, 0) < 0)
        return base::fail_sys(fmt::format("--prev-images-dir {}", previous));
    if (symlinkat(previous.c_str(), images_dir, "parent") == 0)
        return {};
    if (errno == EEXIST && TRY(kernel::read_link(images_dir, "parent")) == previous)
        return {};
    return base::fail_sys(EEXIST, "the link parent in the folder of images");
}

Result<void> take_memory(const engine::PageServerRequest &request, pages::Channel &channel, base::Log &log) {
    const auto images = TRY(image::ImageDir::open(request.images_dir_fd));
    auto writer = TRY(image::ImageDirWriter::open(request.images_dir_fd));
    writer.set_durable(request.durable);
    auto receiver = TRY(Receiver::open(channel, images, writer));
    TRY(receiver.run());
    log.info(fmt::format("page server: {} pages", receiver.pages()));
    return request.link.endpoint.socket < 0 ? await_end(channel) : Result<void>();
}

Result<void> give_memory(const engine::PageServerRequest &request, pages::Channel &channel) {
    ImageGiver giver(TRY(pages::Chain::open(request.images_dir_fd)));
    return pages::give_pages(channel, giver);
}

} // namespace

Result<Server> Server::open(const engine::PageServerRequest &request) {
    Server server;
    TRY(link_parent(request.images_dir_fd, request.previous));
    if (request.link.endpoint.socket >= 0)
        server.given_ = TRY(pages::given_socket(request.link.endpoint.socket));
    else
        server.listening_ = TRY(pages::listen_at(request.link.endpoint));
    return server;
}

Result<void> Server::serve(const engine::PageServerRequest &request, base::Log &log) {
    base::UniqueFd socket = listening_ ? TRY(pages::accept_one(*listening_)) : std::move(given_);
    const auto channel = TRY(pages::accepted_channel(request.link, std::move(socket)));
    return request.lazy ? give_memory(request, *channel) : take_memory(request, *channel, log);
}

namespace {

/// In a process of its own, to the end.
[[noreturn]] void serve_and_exit(Server &server, const engine::PageServerRequest &request, base::Log &log) {
    auto served = base::guarded([&] { return server.serve(request, log); });
    if (!served) {
        log.error("page-server: " + served.error().message());
        if (!served.error().hint().empty())
            log.hint(served.error().hint());
    }
    _exit(served ? 0 : 1);
}

Result<Started> start_server(const engine::PageServerRequest &request, Kinship kinship, base::Log &log,
                             const std::function<void()> &in_child) {
    Server server = TRY(Server::open(request));
    const auto body = [&] {
        in_child();
        serve_and_exit(server, request, log);
    };
    if (kinship == Kinship::Daemon)
        return Started{TRY(kernel::fork_apart(body)), server.port()};
    const pid_t child = fork();
    if (child < 0)
        return base::fail_sys("fork");
    if (child == 0)
        body();
    return Started{base::Pid(child), server.port()};
}

} // namespace

Result<Started> start(const engine::PageServerRequest &request, Kinship kinship, base::Log &log,
                      const std::function<void()> &in_child) {
    return TRY_CTX(start_server(request, kinship, log, in_child), "page-server");
}

namespace {

Result<void> run_server(const engine::PageServerRequest &request, engine::Notifier &notifier, base::Log &log) {
    Server server = TRY(Server::open(request));
    if (server.port())
        log.info(fmt::format("Using {} port", server.port()));
    if (!TRY(kernel::go_to_background(request.daemon, request.pidfile)))
        return {};
    TRY(kernel::say_ready(request.status_fd));
    TRY(notifier.tell("status-ready", {}));
    return server.serve(request, log);
}

} // namespace

Result<void> run(const engine::PageServerRequest &request, engine::Notifier &notifier, base::Log &log) {
    TRY_CTX(run_server(request, notifier, log), "page-server");
    return {};
}

} // namespace page_server
