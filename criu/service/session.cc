#include "criu/service/session.hh"

#include "criu/cli/privilege.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace service {
namespace {

std::unexpected<base::Error> refused(std::string_view field, std::string_view why) {
    return base::fail(base::ErrorKind::Usage, fmt::format("{}: {}", field, why));
}

/// What would let a caller of the service do more than he may by himself, or concerns descriptors that we do not have.
Result<void> check_standing(const img::criu_opts &from, Standing standing) {
    if (standing == Standing::Caller)
        return {};
    constexpr std::string_view kNotInService = "not allowed in standalone service";
    if (from.rst_sibling())
        return refused("rst_sibling", kNotInService);
    if (from.inherit_fd_size())
        return refused("inherit_fd", kNotInService);
    if (from.ps().has_fd())
        return refused("ps.fd", kNotInService);
    if (standing == Standing::Anybody && from.has_config_file())
        return refused("config_file", "only for callers of the service who are root");
    return {};
}

/// A page server to be connected to, or to be. With lazy_pages a dump serves pages itself, there.
Result<void> apply_page_server(const img::criu_opts &from, cli::Options &to) {
    if (!from.has_ps())
        return {};
    constexpr int kLastPort = 65535;
    const img::criu_page_server_info &ps = from.ps();
    if (ps.has_port() && (ps.port() < 0 || ps.port() > kLastPort))
        return refused("ps.port", fmt::format("{} is no port", ps.port()));
    if (ps.has_fd() && ps.fd() < 0)
        return refused("ps.fd", "a descriptor is wanted");
    to.page_server = !from.lazy_pages();
    to.address = ps.address();
    to.port = ps.port();
    if (ps.has_fd())
        to.ps_socket = ps.fd();
    return {};
}

/// Fields that stand for themselves.
Result<void> apply_session_fields(const img::criu_opts &from, const Peer &peer, cli::Options &to) {
    to.tree = from.has_pid() ? from.pid() : peer.pid();
    if (from.has_pid() && from.pid() <= 0)
        return refused("pid", fmt::format("{} is no process", from.pid()));
    if (from.has_log_level())
        to.verbosity = from.log_level();
    if (from.log_file().find('/') != std::string::npos)
        return refused("log_file", "a name without / is wanted: the log lies in the work folder");
    if (from.has_log_file())
        to.log_file = from.log_file();
    if (from.has_status_fd()) // closed by whoever writes to it
        to.status_fd = TRY_CTX(peer.open(from.status_fd(), O_WRONLY), "status_fd").release();
    TRY(apply_page_server(from, to));
    if (from.has_orphan_pts_master())
        to.orphan_terminals = from.orphan_pts_master();
    to.exec_cmd = from.exec_cmd_size() > 0;
    to.exec_argv.assign(from.exec_cmd().begin(), from.exec_cmd().end());
    to.restore_detached = !to.exec_cmd;
    return {};
}

Result<base::UniqueFd> open_folder(const std::string &path) {
    base::UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd)
        return base::fail_sys(fmt::format("can't open the folder {}", path));
    return fd;
}

/// A folder of the client's, unless a configuration file says another.
Result<base::UniqueFd> client_folder(std::string_view field, int number, const Peer &peer) {
    if (number < 0)
        return refused(field, "a descriptor is wanted");
    return TRY_CTX(peer.open(number, O_RDONLY | O_DIRECTORY), std::string(field));
}

Result<base::UniqueFd> open_images(const img::criu_opts &from, const cli::Options &options, const Peer &peer) {
    if (options.images_dir != cli::Options{}.images_dir)
        return open_folder(options.images_dir);
    if (from.images_dir_fd() < 0 && from.has_images_dir())
        return open_folder(from.images_dir());
    return client_folder("images_dir_fd", from.images_dir_fd(), peer);
}

Result<base::UniqueFd> open_work(const img::criu_opts &from, const cli::Options &options, const Peer &peer,
                                 int images) {
    if (!options.work_dir.empty())
        return open_folder(options.work_dir);
    if (from.has_work_dir_fd())
        return client_folder("work_dir_fd", from.work_dir_fd(), peer);
    base::UniqueFd fd(fcntl(images, F_DUPFD_CLOEXEC, 3));
    if (!fd)
        return base::fail_sys("the work folder");
    return fd;
}

Result<base::Log> open_log(const img::criu_opts &from, const cli::Options &options) {
    const auto level =
        static_cast<base::LogLevel>(std::clamp(options.verbosity, 0, static_cast<int>(base::LogLevel::Debug)));
    if (from.log_to_stderr())
        return base::Log(base::UniqueFd(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)), level);
    const char *name = options.log_file.empty() ? "criu.log" : options.log_file.c_str();
    // Engines make the file, with a label, before they start us: it is emptied, not replaced.
    base::UniqueFd fd(open(name, O_CREAT | O_TRUNC | O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!fd)
        return base::fail_sys(fmt::format("can't create the log file {}", name));
    return base::Log(std::move(fd), level);
}

Result<void> check_own_privileges(const cli::Options &options, Standing standing) {
    if (standing == Standing::Anybody)
        return {}; // the worker has what it needs, and its client need not ask for it
    return cli::check_privileges(TRY(cli::own_privileges()), options);
}

} // namespace

Result<cli::Options> options_of(const img::criu_opts &from, const cli::Options &defaults, const Peer &peer,
                                Standing standing) {
    cli::Options options = defaults;
    TRY(check_standing(from, standing));
    TRY(apply_session_fields(from, peer, options));
    TRY(apply_fields(from, options));
    if (from.has_config_file())
        TRY(apply_config(from.config_file(), options));
    return options;
}

Result<Session> open_session(const img::criu_opts &from, const cli::Options &defaults, const Peer &peer,
                             Standing standing) {
    Session session;
    session.options = TRY(options_of(from, defaults, peer, standing));
    if (from.has_pidfd_store_sk())
        session.pidfd_store = TRY_CTX(peer.fetch(from.pidfd_store_sk()), "pidfd_store_sk");
    session.options.pidfd_store = session.pidfd_store.get();
    session.images = TRY(open_images(from, session.options, peer));
    session.work = TRY(open_work(from, session.options, peer, session.images.get()));
    session.options.images_dir_fd = session.images.get();
    if (fchdir(session.work.get()) < 0)
        return base::fail_sys("can't change to the work folder");
    session.log = TRY(open_log(from, session.options));
    TRY(check_own_privileges(session.options, standing));
    return session;
}

Result<Session> open_plain_session(const img::criu_opts &from, const cli::Options &defaults, const Peer &peer,
                                   Standing standing) {
    if (from.has_log_file())
        return open_session(from, defaults, peer, standing);
    Session session;
    session.options = TRY(options_of(from, defaults, peer, standing));
    if (from.log_to_stderr())
        session.log = TRY(open_log(from, session.options));
    else
        session.log.set_level(base::LogLevel::None);
    return session;
}

} // namespace service
