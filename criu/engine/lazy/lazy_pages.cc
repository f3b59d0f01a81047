// Three processes share one table of descriptors: one serves, one holds on to it, and one stands by. A descriptor of
// userfaultfd that the last process closes lets everybody who waits for a page go on with zeroes; with three holders
// none is the last one at a time that anybody chooses.
//
//     the server dies   the holder starts another one, which knows from the journal what the mappings have become;
//                       where its pages come over a connection, which is in the middle of some answer, the tree ends
//     the holder dies   the server goes on
//     both die          the one that stands by becomes the holder
//     pages cannot be had any more, by either    the tree ends: what is missing is poisoned, then the tasks are killed
#include "criu/engine/lazy/lazy_pages.hh"

#include "base/guarded.hh"
#include "criu/engine/lazy/intake.hh"
#include "criu/engine/lazy/serving.hh"
#include "criu/kernel/readiness.hh"
#include "pstree.pb.h"

#include <csignal>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace lazy {
namespace {

constexpr int kMostServers = 5; ///< one that dies again and again will not get further

/// Everything that both processes know.
struct Tree {
    Intake intake;
    SavedMemory saved;
    Journal journal;
    std::vector<Begun> begun;
    std::vector<base::UniqueFd> pidfds;
};

Result<size_t> count_tasks(const image::ImageDir &images) {
    const auto tree = TRY(images.read<img::pstree_entry>(image::ImageKind::Pstree));
    if (tree.empty())
        return base::bad_image("pstree.img is missing: this is no folder of a checkpoint");
    return tree.size();
}

Result<std::unique_ptr<RemotePages>> connect_remote(const engine::LazyPagesRequest &request) {
    if (!request.page_server)
        return nullptr;
    return std::make_unique<RemotePages>(TRY(pages::connect_channel(*request.page_server)));
}

/// The descriptors of all processes, and what of them is missing.
Result<void> take_processes(Tree &tree, size_t count) {
    for (size_t i = 0; i < count; i++) {
        NewProcess found = TRY(tree.intake.next());
        if (!found.fd)
            continue;
        Missing missing = TRY(tree.saved.begin(found.image));
        tree.begun.push_back({found.fd.release(), found.image, std::move(missing)}); // both processes': until the end
        tree.pidfds.push_back(std::move(found.pidfd));
    }
    return {};
}

// ---- the serving process -------------------------------------------------------------------------------------------

/// Looks whether the restore has come to its end.
Result<void> look_at_restore(Tree &tree) {
    constexpr int kLookMs = 20;
    if (tree.journal.may_run()) {
        poll(nullptr, 0, kLookMs);
        return {};
    }
    pollfd end{tree.intake.fd(), POLLIN, 0};
    if (poll(&end, 1, kLookMs) == 1) {
        TRY(tree.intake.take_end());
        tree.journal.may_run() = true;
    }
    return {};
}

Result<void> serve(Tree &tree, base::Log &log, pid_t holder) {
    Processes processes(tree.begun, tree.journal);
    processes.replay();
    bool alone = false;
    Serving serving(processes, tree.saved, tree.journal);
    auto served = serving.run([&]() -> Result<void> {
        if (!alone && getppid() != holder) {
            alone = true;
            log.warn("lazy-pages: the process that holds the descriptors as well was killed: the one that stands by "
                     "takes its place");
        }
        return look_at_restore(tree);
    });
    if (served)
        served = tree.saved.finish();
    if (!served)
        processes.poison_all();
    return served;
}

[[noreturn]] void serve_and_exit(Tree &tree, base::Log &log, pid_t holder) {
    auto served = base::guarded([&] { return serve(tree, log, holder); });
    if (served)
        tree.journal.succeeded() = true;
    else {
        tree.journal.hopeless() = true;
        log.error("lazy-pages: " + served.error().message());
        if (!served.error().hint().empty())
            log.hint(served.error().hint());
    }
    _exit(served ? 0 : 1);
}

/// Memory of its own, but one table of descriptors.
pid_t start_server(Tree &tree, base::Log &log) {
    const pid_t holder = getpid();
    int process = -1; // until the end: whoever stands by waits for it
    const long pid = syscall(SYS_clone, CLONE_FILES | CLONE_PIDFD | SIGCHLD, 0, &process, nullptr, 0);
    if (pid == 0)
        serve_and_exit(tree, log, holder);
    tree.journal.server() = process;
    return static_cast<pid_t>(pid);
}

// ---- the holder ----------------------------------------------------------------------------------------------------

void send_signal(const base::UniqueFd &pidfd, int number) {
    if (pidfd)
        syscall(SYS_pidfd_send_signal, pidfd.get(), number, nullptr, 0);
}

/// Nobody of the tree is to go on without its memory. Children that we have never heard of are found by their parents,
/// and end by the poison where they are not.
void end_tree(Tree &tree) {
    Processes processes(tree.begun, tree.journal);
    processes.replay();
    processes.poison_all();
    for (const base::UniqueFd &pidfd : tree.pidfds)
        send_signal(pidfd, SIGKILL);
}

/// A server has ended that was not to. True if another one is to be started.
Result<bool> look_at_end(Tree &tree, const std::string &how, base::Log &log) {
    if (tree.journal.succeeded())
        return false;
    if (tree.journal.hopeless())
        return base::fail(base::ErrorKind::Died, "the memory of the tree cannot be had: it was ended");
    if (tree.saved.is_remote())
        return base::fail(
            base::ErrorKind::Died,
            fmt::format("the process that serves memory {}, and its connection to the page server with it: "
                        "the tree was ended",
                        how));
    log.warn(fmt::format("lazy-pages: the process that serves memory {}; another one goes on", how));
    return true;
}

/// Waits for a server. True if another one is to be started.
Result<bool> wait_for(pid_t server, Tree &tree, base::Log &log) {
    int status = 0;
    while (waitpid(server, &status, 0) < 0 && errno == EINTR) {
    }
    const std::string how = WIFSIGNALED(status) ? fmt::format("was ended by signal {}", WTERMSIG(status))
                                                : fmt::format("has ended with {}", WEXITSTATUS(status));
    return look_at_end(tree, how, log);
}

Result<void> hold(Tree &tree, base::Log &log) {
    for (int i = 0; i < kMostServers; i++) {
        const pid_t server = start_server(tree, log);
        if (server < 0)
            return base::fail_sys("clone");
        if (!TRY(wait_for(server, tree, log)))
            return {};
    }
    return base::fail(base::ErrorKind::Bug, "the process that serves memory dies again and again: the tree was ended");
}

Result<void> hold_or_end(Tree &tree, base::Log &log) {
    auto held = hold(tree, log);
    if (!held)
        end_tree(tree);
    return held;
}

// ---- the one that stands by ----------------------------------------------------------------------------------------

void await_end(int process) {
    for (pollfd end{process, POLLIN, 0}; poll(&end, 1, -1) < 0 && errno == EINTR;) {
    }
}

Result<void> take_over(Tree &tree, base::Log &log) {
    if (const int server = tree.journal.server(); server >= 0)
        await_end(server);
    auto again = look_at_end(tree, "was killed, as was the one before it", log);
    if (!again)
        end_tree(tree);
    return TRY(std::move(again)) ? hold_or_end(tree, log) : Result<void>();
}

/// Memory of its own, but one table of descriptors. Its name is another: who ends all processes called criu does not
/// make a tree read zeroes.
Result<void> start_stand_by(Tree &tree, base::Log &log) {
    const int holder = static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0));
    if (holder < 0)
        return base::fail_sys("pidfd_open");
    const long pid = syscall(SYS_clone, CLONE_FILES, 0, nullptr, nullptr, 0);
    if (pid < 0)
        return base::fail_sys("clone");
    if (pid > 0)
        return {};
    prctl(PR_SET_NAME, "memory-keeper");
    await_end(holder);
    auto done = base::guarded([&] { return take_over(tree, log); });
    if (!done)
        log.error("lazy-pages: " + done.error().message());
    _exit(done ? 0 : 1);
}

/// Being asked to end would end the tree as well. Whoever wants that can end the tree.
void hold_signals() {
    sigset_t set;
    sigemptyset(&set);
    for (int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT})
        sigaddset(&set, number);
    sigprocmask(SIG_BLOCK, &set, nullptr);
}

Result<void> serve_tree(const engine::LazyPagesRequest &request, Intake intake, base::Log &log) {
    auto chain = TRY(pages::Chain::open(request.images_dir_fd));
    const size_t count = TRY(count_tasks(chain.newest()));
    TRY(intake.accept(request.caller));
    Tree tree{.intake = std::move(intake),
              .saved = TRY(SavedMemory::open(std::move(chain), TRY(connect_remote(request)))),
              .journal = TRY(Journal::create()),
              .begun = {},
              .pidfds = {}};
    TRY(take_processes(tree, count));
    hold_signals();
    tree.journal.server() = -1;
    TRY(start_stand_by(tree, log));
    TRY(hold_or_end(tree, log));
    log.info(fmt::format("lazy-pages: UFFD transferred pages: {}", tree.journal.transferred() / base::kPageSize));
    return {};
}

} // namespace

Result<void> run(const engine::LazyPagesRequest &request, engine::Notifier &notifier, base::Log &log) {
    auto body = [&]() -> Result<void> {
        Intake intake = TRY(Intake::listen());
        if (!TRY(kernel::go_to_background(request.daemon, request.pidfile))) {
            intake.leave_to_other();
            return {};
        }
        TRY(kernel::say_ready(request.status_fd));
        TRY(notifier.tell("status-ready", {}));
        return serve_tree(request, std::move(intake), log);
    };
    TRY_CTX(body(), "lazy-pages");
    return {};
}

} // namespace lazy
