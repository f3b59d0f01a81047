#include "criu/service/worker.hh"

#include "base/guarded.hh"
#include "base/printable.hh"
#include "criu/cli/commands.hh"
#include "criu/cli/requests.hh"
#include "criu/cli/version.hh"
#include "criu/engine/check/check.hh"
#include "criu/engine/check/probes.hh"
#include "criu/engine/dump/dump.hh"
#include "criu/engine/page_server/page_server.hh"
#include "criu/engine/pre_dump/pre_dump.hh"
#include "criu/engine/restore/restore.hh"
#include "criu/resource/task/processor_care.hh"
#include "criu/service/notifier.hh"
#include "criu/service/request_text.hh"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

namespace service {
namespace {

constexpr int kSucceeded = 0, kFailed = 1, kProtocolError = 255;

/// One request being served.
struct Job {
    Connection &connection;
    const cli::Options &defaults;
    Standing standing;
    const img::criu_req &request;
    img::criu_resp answer; ///< what is known of it so far
};

/// Says why in the answer.
void fail(img::criu_resp &answer, const base::Error &error, int number) {
    answer.set_success(false);
    if (number)
        answer.set_cr_errno(number);
    answer.set_cr_errmsg(to_message(error));
}

/// The numbers that CRIU gives for failures behind the options.
int number_of(const base::Error &error) {
    if (error.kind() == base::ErrorKind::Busy || error.code() == EEXIST)
        return EEXIST;
    return error.code() == ESRCH ? ESRCH : 0;
}

void log_failure(base::Log &log, const base::Error &error) {
    log.error(base::printable(error.message()));
    if (!error.hint().empty())
        log.hint(base::printable(error.hint()));
}

/// Opens the session and runs `body` in it. The answer says what came of both.
template <class Open, class Body> int in_session(Job &job, Open open, Body body) {
    auto session =
        base::guarded([&] { return open(job.request.opts(), job.defaults, job.connection.peer(), job.standing); });
    if (!session) {
        fail(job.answer, session.error(), EBADRQC);
        return kFailed;
    }
    session->log.info(fmt::format("Version: {} (pid {}), for process {} of user {}", cli::kVersion, getpid(),
                                  job.connection.peer().pid(), job.connection.peer().uid()));
    Result<void> done = base::guarded([&]() -> Result<void> { return body(*session); });
    if (!done) {
        log_failure(session->log, done.error());
        fail(job.answer, done.error(), number_of(done.error()));
        return kFailed;
    }
    job.answer.set_success(true);
    return kSucceeded;
}

RpcNotifier notifier_for(Job &job, Session &session) {
    return RpcNotifier(job.connection, job.request.opts().notify_scripts() ? Listening::Yes : Listening::No,
                       kernel::Scripts(session.options.action_scripts, session.options.images_dir_fd), session.log);
}

void give(Job &job) {
    if (auto sent = job.connection.send(job.answer); !sent) {
        // Who asked has gone; what was done is done.
    }
}

// ---- requests ------------------------------------------------------------------------------------------------------

Result<void> dump_for(Job &job, Session &session) {
    RpcNotifier notifier = notifier_for(job, session);
    engine::DumpRequest request = cli::dump_request(session.options);
    request.files.service_socket = job.connection.inode();
    if (job.standing == Standing::Anybody)
        request.plugins.directory.clear();
    const auto outcome = TRY(dump::run(request, notifier, session.log));
    if (outcome.script_status)
        return base::fail(base::ErrorKind::System,
                          fmt::format("an action script failed at post-dump with status {}", outcome.script_status));
    if (session.options.display_stats)
        cli::show(outcome.statistics);
    return {};
}

int serve_dump(Job &job) {
    job.answer.mutable_dump()->set_restored(false);
    const int code = in_session(job, open_session, [&](Session &session) { return dump_for(job, session); });
    // A client that has dumped itself is gone, and finds its answer when it is restored.
    give(job);
    return code;
}

Result<void> pre_dump_for(Job &job, Session &session) {
    RpcNotifier notifier = notifier_for(job, session);
    engine::PreDumpRequest request = cli::pre_dump_request(session.options);
    request.dump.files.service_socket = job.connection.inode();
    const auto outcome = TRY(pre_dump::run(request, notifier, session.log));
    if (session.options.display_stats)
        cli::show(outcome.statistics);
    return {};
}

int serve_pre_dump(Job &job) {
    const int code = in_session(job, open_session, [&](Session &session) { return pre_dump_for(job, session); });
    give(job);
    return code;
}

Result<void> restore_for(Job &job, Session &session) {
    RpcNotifier notifier = notifier_for(job, session);
    engine::RestoreRequest request = cli::restore_request(session.options);
    if (job.standing == Standing::Anybody) {
        request.plugins.directory.clear();
        request.withhold_capabilities = true;
    }
    const auto outcome = TRY(restore::run(request, notifier, session.log));
    job.answer.mutable_restore()->set_pid(outcome.root.value);
    if (session.options.display_stats)
        cli::show(outcome.statistics);
    return {};
}

int serve_restore(Job &job) {
    job.answer.mutable_restore()->set_pid(-1);
    std::vector<std::string> command;
    const int code = in_session(job, open_session, [&](Session &session) {
        command = session.options.exec_argv;
        return restore_for(job, session);
    });
    give(job);
    if (code == kSucceeded && !command.empty()) {
        auto failed = cli::become(command);
        fail(job.answer, failed, failed.code());
        return kFailed;
    }
    return code;
}

int serve_check(Job &job) {
    const int code = in_session(job, open_plain_session, [&](Session &session) -> Result<void> {
        const engine::CheckOutcome outcome = check::run(cli::check_request(session.options), session.log);
        if (!outcome.complete)
            return base::unsupported("this kernel lacks what every checkpoint needs: criu check tells what");
        return {};
    });
    give(job);
    return code;
}

/// In the background (PAGE_SERVER), or as a child that WAIT_PID waits for (PAGE_SERVER_CHLD). Somebody can connect when
/// the answer comes.
Result<void> start_page_server(Job &job, Session &session, page_server::Kinship kinship) {
    const engine::PageServerRequest request = cli::page_server_request(session.options);
    const auto server = TRY(page_server::start(request, kinship, session.log, [&] { job.connection.hang_up(); }));
    job.answer.mutable_ps()->set_pid(server.pid.value);
    job.answer.mutable_ps()->set_port(server.port);
    return {};
}

int serve_page_server(Job &job) {
    const auto kinship =
        job.request.type() == img::PAGE_SERVER ? page_server::Kinship::Daemon : page_server::Kinship::Child;
    job.answer.set_type(img::PAGE_SERVER); // CRIU answers both so
    const int code =
        in_session(job, open_session, [&](Session &session) { return start_page_server(job, session, kinship); });
    give(job);
    return code;
}

bool has(std::string_view feature) {
    const auto probes = check::feature_probes();
    const auto probe = std::ranges::find(probes, feature, &check::Probe::name);
    return probe != probes.end() && probe->run().has_value();
}

int serve_features(Job &job) {
    if (!job.request.has_features()) {
        fail(job.answer, base::Error(base::ErrorKind::Usage, "a check of features needs the field features"), 0);
        give(job);
        return kFailed;
    }
    const img::criu_features &asked = job.request.features();
    img::criu_features *features = job.answer.mutable_features();
    if (asked.mem_track())
        features->set_mem_track(has("mem_dirty_track"));
    if (asked.lazy_pages())
        features->set_lazy_pages(has("uffd") && has("uffd-noncoop"));
    if (asked.pidfd_store())
        features->set_pidfd_store(has("pidfd_store"));
    job.answer.set_success(true);
    give(job);
    return kSucceeded;
}

int serve_version(Job &job) {
    img::criu_version *version = job.answer.mutable_version();
    const char *at = cli::kVersion.data(), *end = at + cli::kVersion.size();
    int numbers[3] = {};
    for (int &number : numbers) {
        at = std::from_chars(at, end, number).ptr;
        at += at < end;
    }
    version->set_major_number(numbers[0]);
    version->set_minor_number(numbers[1]);
    if (numbers[2])
        version->set_sublevel(numbers[2]);
    job.answer.set_success(true);
    give(job);
    return kSucceeded;
}

int serve_wait(Job &job) {
    int status = 0;
    const auto pid = static_cast<pid_t>(job.request.pid());
    pid_t ended = -1;
    if (pid > 0)
        while ((ended = waitpid(pid, &status, 0)) < 0 && errno == EINTR) {
        }
    if (ended < 0)
        fail(job.answer, base::Error::sys(pid > 0 ? errno : EINVAL, fmt::format("wait for process {}", pid)), errno);
    else
        job.answer.set_success(true), job.answer.set_status(status);
    give(job);
    return ended < 0 ? kFailed : kSucceeded;
}

int serve_cpuinfo(Job &job) {
    const bool dumps = job.request.type() == img::CPUINFO_DUMP;
    const int code = in_session(job, open_session, [&](Session &session) {
        return dumps ? resource::dump_processor(session.options.images_dir_fd)
                     : resource::require_processor(session.options.images_dir_fd, cli::processor_care(session.options));
    });
    give(job);
    return code;
}

int no_request(Connection &connection, const base::Error &error) {
    img::criu_resp answer;
    answer.set_type(img::EMPTY);
    fail(answer, error, 0);
    (void)connection.send(answer);
    return kProtocolError;
}

int serve(Job &job) {
    job.answer.set_type(job.request.type());
    job.answer.set_success(false);
    switch (job.request.type()) {
    case img::DUMP:
        return serve_dump(job);
    case img::RESTORE:
        return serve_restore(job);
    case img::CHECK:
        return serve_check(job);
    case img::FEATURE_CHECK:
        return serve_features(job);
    case img::VERSION:
        return serve_version(job);
    case img::WAIT_PID:
        return serve_wait(job);
    case img::PRE_DUMP:
    case img::SINGLE_PRE_DUMP:
        return serve_pre_dump(job);
    case img::PAGE_SERVER_CHLD:
    case img::PAGE_SERVER:
        return serve_page_server(job);
    case img::CPUINFO_DUMP:
    case img::CPUINFO_CHECK:
        return serve_cpuinfo(job);
    case img::EMPTY:
    case img::NOTIFY:
        break;
    }
    return no_request(job.connection, base::Error(base::ErrorKind::Usage, "an empty request"));
}

/// Whether others may follow on the same connection.
bool may_keep_open(img::criu_req_type type) {
    switch (type) {
    case img::PAGE_SERVER:
    case img::PAGE_SERVER_CHLD:
    case img::CPUINFO_DUMP:
    case img::CPUINFO_CHECK:
    case img::FEATURE_CHECK:
    case img::VERSION:
        return true;
    case img::EMPTY:
    case img::DUMP:
    case img::RESTORE:
    case img::CHECK:
    case img::PRE_DUMP:
    case img::NOTIFY:
    case img::WAIT_PID:
    case img::SINGLE_PRE_DUMP:
        break;
    }
    return false;
}

/// What may follow a pre-dump: the next one, or the dump.
bool goes_on_from_pre_dump(img::criu_req_type type) {
    return type == img::PRE_DUMP || type == img::DUMP;
}

} // namespace

int work(Connection &connection, const cli::Options &defaults, Standing standing) {
    bool in_pre_dumps = false;
    for (bool first = true;; first = false) {
        auto request = connection.receive();
        if (!request)
            return request.error().kind() == base::ErrorKind::BadImage ? no_request(connection, request.error())
                                                                       : kProtocolError;
        if (!*request)
            return first ? kProtocolError : kSucceeded;
        const img::criu_req &asked = **request;
        if (asked.keep_open() && !may_keep_open(asked.type()))
            return kProtocolError;
        if (in_pre_dumps && !goes_on_from_pre_dump(asked.type()))
            return no_request(connection,
                              base::Error(base::ErrorKind::Usage, "after a pre-dump: neither that nor a dump"));
        Job job{connection, defaults, standing, asked, {}};
        const int code = serve(job);
        in_pre_dumps = asked.type() == img::PRE_DUMP;
        if (code != kSucceeded || !(asked.keep_open() || in_pre_dumps))
            return code;
    }
}

int work_for_caller(const cli::Options &options) {
    auto connection = Connection::on(base::UniqueFd(options.swrk_fd));
    if (!connection) {
        base::Log().error(connection.error().message());
        return kFailed;
    }
    return work(*connection, options, Standing::Caller);
}

} // namespace service
