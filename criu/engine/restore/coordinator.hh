// The coordinator's hold on the tree that it makes: it starts the root, waits for stages, and on failure leaves
// nothing.
#pragma once

#include "criu/engine/restore/root_tracer.hh"

#include <csignal>
#include <functional>

namespace restore {

class Coordinator {
public:
    explicit Coordinator(RestoreContext &context) : context_(&context) {}
    /// Unless done(): ends everything that was created and collects it.
    ~Coordinator();
    Coordinator(const Coordinator &) = delete;

    /// Creates the root task.
    Result<void> start();
    /// Waits until all expected have arrived at the next stage. Errors: what the first that failed reported.
    /// `meanwhile` is called now and then.
    Result<void> wait_all(const std::function<void()> &meanwhile = {});
    /// The tree lives on its own from here on.
    void done();
    /// A signal that came too late to be obeyed; 0 for none.
    int asked_to_end() const { return asked_to_end_; }

private:
    Result<void> root_is_alive() const;
    Result<void> all_are_alive() const;
    RestoreContext *context_;
    Hold hold_; ///< on a root that is not our child
    bool started_ = false, done_ = false;
    sigset_t old_mask_{};
    int asked_to_end_ = 0;
};

} // namespace restore
