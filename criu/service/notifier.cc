#include "criu/service/notifier.hh"

#include "criu/cli/requests.hh"
#include "criu/service/option_fields.hh"

#include <fmt/format.h>

namespace service {
namespace {

/// Where the client learns the pid: engines of containers take the last one for that of their init.
bool shows_pid(std::string_view hook) {
    return hook == "setup-namespaces" || hook == "post-restore";
}

} // namespace

Result<img::criu_req> RpcNotifier::ask(const char *hook, std::optional<base::Pid> root, int descriptor) {
    img::criu_resp message;
    message.set_type(img::NOTIFY);
    message.set_success(true);
    message.mutable_notify()->set_script(hook);
    if (root && shows_pid(hook))
        message.mutable_notify()->set_pid(root->value);
    TRY_CTX(connection_.send(message, descriptor), fmt::format("notification {}", hook));
    auto answer = TRY_CTX(connection_.receive(), fmt::format("answer to the notification {}", hook));
    if (!answer)
        return base::fail(base::ErrorKind::Died, fmt::format("the client has gone at the notification {}", hook));
    if (answer->type() != img::NOTIFY || !answer->notify_success())
        return base::fail(base::ErrorKind::System, fmt::format("RPC client reported script error at {}", hook));
    return std::move(*answer);
}

Result<void> RpcNotifier::tell(const char *hook, std::optional<base::Pid> root) {
    if (listening_ == Listening::Yes)
        TRY(ask(hook, root));
    return scripts_.run(hook, root);
}

Result<int> RpcNotifier::tell_for_status(const char *hook, std::optional<base::Pid> root) {
    // What comes next cannot be undone: nobody may want it any more.
    if (connection_.is_abandoned())
        return base::fail(base::ErrorKind::Died, fmt::format("the client has gone before {}", hook));
    if (listening_ == Listening::Yes)
        TRY(ask(hook, root));
    return scripts_.run_for_status(hook, root);
}

Result<void> RpcNotifier::ask_for_external(engine::DumpRequest &request) {
    if (listening_ == Listening::No)
        return {};
    const img::criu_req answer = TRY(ask("query-ext-files", {}));
    img::criu_opts only;
    *only.mutable_external() = answer.opts().external();
    cli::Options options;
    TRY_CTX(apply_fields(only, options), "query-ext-files");
    const engine::DumpRequest more = cli::dump_request(options);
    auto &external = request.files.externals;
    external.insert(external.end(), more.files.externals.begin(), more.files.externals.end());
    request.namespaces.mounts.keys.insert(more.namespaces.mounts.keys.begin(), more.namespaces.mounts.keys.end());
    return {};
}

Result<void> RpcNotifier::hand_over_terminal(int master) {
    if (listening_ == Listening::No)
        return base::unsupported("orphan_pts_master needs notify_scripts: it is a notification");
    TRY(ask("orphan-pts-master", {}, master));
    return {};
}

} // namespace service
