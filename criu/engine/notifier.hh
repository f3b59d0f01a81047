// Who is told at fixed points of a dump or restore, and may refuse.
#pragma once

#include "base/ids.hh"
#include "base/result.hh"
#include "criu/engine/request.hh"
#include "criu/kernel/scripts.hh"

#include <optional>

namespace engine {

using base::Result;

class Notifier {
public:
    virtual ~Notifier() = default;
    /// `root` as the caller knows it, once there is one. Errors: the listener refuses.
    virtual Result<void> tell(const char *hook, std::optional<base::Pid> root) = 0;
    /// As tell(), but a script that fails is no error: its status is returned, 0 if all went well.
    virtual Result<int> tell_for_status(const char *hook, std::optional<base::Pid> root) = 0;
    /// Whether anybody might look at the tree when told.
    virtual bool has_listeners() const = 0;
    /// Dump, once the tree stands still: the listener may name further objects that are not saved.
    virtual Result<void> ask_for_external(DumpRequest &) { return {}; }
    /// Restore, in the root task: the master of a pseudo terminal whose slave the tree has. Errors: nobody takes it.
    virtual Result<void> hand_over_terminal(int) {
        return base::unsupported("nobody takes the master of a terminal that the tree has");
    }
};

/// Action scripts.
class ScriptNotifier : public Notifier {
public:
    explicit ScriptNotifier(kernel::Scripts scripts) : scripts_(std::move(scripts)) {}
    Result<void> tell(const char *hook, std::optional<base::Pid> root) override { return scripts_.run(hook, root); }
    Result<int> tell_for_status(const char *hook, std::optional<base::Pid> root) override {
        return scripts_.run_for_status(hook, root);
    }

    bool has_listeners() const override { return !scripts_.is_empty(); }

private:
    kernel::Scripts scripts_;
};

} // namespace engine
