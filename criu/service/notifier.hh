// Who is told by RPC: the client, if it wants to be (notify_scripts), and then the scripts of configuration files.
#pragma once

#include "criu/engine/notifier.hh"
#include "criu/service/connection.hh"

namespace service {

enum class Listening : uint8_t { No, Yes };

class RpcNotifier final : public engine::Notifier {
public:
    RpcNotifier(Connection &connection, Listening listening, kernel::Scripts scripts, base::Log &log)
        : connection_(connection), listening_(listening), scripts_(std::move(scripts)), log_(log) {}

    Result<void> tell(const char *hook, std::optional<base::Pid> root) override;
    Result<int> tell_for_status(const char *hook, std::optional<base::Pid> root) override;
    bool has_listeners() const override { return listening_ == Listening::Yes || !scripts_.is_empty(); }
    Result<void> ask_for_external(engine::DumpRequest &request) override;
    Result<void> hand_over_terminal(int master) override;

private:
    /// Sends the notification and returns the answer. Errors: a refusal, or a client that has gone.
    Result<img::criu_req> ask(const char *hook, std::optional<base::Pid> root, int descriptor = -1);

    Connection &connection_;
    Listening listening_;
    kernel::Scripts scripts_;
    base::Log &log_;
};

} // namespace service
