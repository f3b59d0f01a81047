// criu-ns: runs criu in a pid namespace of its own, so that pids which are taken here are no obstacle.
//
//     criu-ns restore ...        in a fresh pid namespace, with a /proc of its own
//     criu-ns check ...          the same
//     criu-ns dump -t PID ...    in the pid and mount namespaces of PID, which is translated; also pre-dump
//
// What is dumped so says nothing of these namespaces: the tool was inside. The first process of a fresh namespace does
// nothing but wait, and criu has the last number that there is: with --restore-detached the namespace has to outlive
// criu, and always whoever dumps the tree from inside: the tree ends before that dump has said how it went.
#include "base/ids.hh"
#include "base/result.hh"
#include "base/unique_fd.hh"
#include "criu/kernel/io.hh"
#include "criu/parse/status.hh"

#include <chrono>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <linux/sched.h>
#include <sched.h>
#include <string>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

using base::Result;
using Words = std::vector<std::string>;

constexpr int kUsage = 2;

struct Job {
    std::string criu = "criu";
    Words words; ///< what criu is given: command and options
    bool detached = false;
    size_t tree = 0; ///< index in `words` of the value of --tree; 0: none
};

/// Takes --criu-binary out; finds what concerns us. `--tree=PID` and `-tPID` become two words.
Job understand(int argc, char **argv) {
    Job job;
    for (int i = 1; i < argc; i++) {
        const std::string word = argv[i];
        constexpr std::string_view kBinary = "--criu-binary", kTree = "--tree";
        if (word == kBinary && i + 1 < argc) {
            job.criu = argv[++i];
        } else if (word.starts_with(std::string(kBinary) + "=")) {
            job.criu = word.substr(kBinary.size() + 1);
        } else if ((word == kTree || word == "-t") && i + 1 < argc) {
            job.words.insert(job.words.end(), {"--tree", argv[++i]});
            job.tree = job.words.size() - 1;
        } else if (word.starts_with(std::string(kTree) + "=") || (word.starts_with("-t") && word.size() > 2)) {
            job.words.insert(job.words.end(), {"--tree", word.substr(word.starts_with("--") ? kTree.size() + 1 : 2)});
            job.tree = job.words.size() - 1;
        } else {
            job.detached |= word == "-d" || word == "--restore-detached";
            job.words.push_back(word);
        }
    }
    return job;
}

[[noreturn]] void execute(const Job &job) {
    std::vector<char *> arguments{const_cast<char *>(job.criu.c_str())};
    for (const std::string &word : job.words)
        arguments.push_back(const_cast<char *>(word.c_str()));
    arguments.push_back(nullptr);
    execvp(job.criu.c_str(), arguments.data());
    fmt::print(stderr, "Error: criu-ns: run {}: {}\n", job.criu, strerror(errno));
    _exit(127);
}

/// A mount namespace whose changes nobody else sees.
Result<void> leave_mounts() {
    if (unshare(CLONE_NEWNS) < 0)
        return base::fail_sys("unshare(CLONE_NEWNS)");
    if (mount("", "/", nullptr, MS_REC | MS_SLAVE, nullptr) < 0)
        return base::fail_sys("separate the mounts from ours");
    return {};
}

/// In the new pid namespace: what /proc shows is that one's.
Result<void> mount_proc() {
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) < 0)
        return base::fail_sys("mount /proc");
    return {};
}

int wait_for(pid_t child) {
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// Whether somebody is here who has entered from outside, as `criu-ns dump` does: he has no parent in this namespace.
bool has_visitors() {
    std::error_code error;
    for (auto &entry : std::filesystem::directory_iterator("/proc", error)) {
        const std::string name = entry.path().filename();
        if (name == "1" || name.find_first_not_of("0123456789") != std::string::npos)
            continue;
        auto text = kernel::read_file(AT_FDCWD, (entry.path() / "status").c_str());
        if (text && text->find("\nPPid:\t0\n") != std::string::npos)
            return true;
    }
    return false;
}

/// Reaps until everybody has gone, or (`only_visitors`) everybody whom the end of the namespace must not take along.
void wait_for_all(bool only_visitors) {
    constexpr auto kPause = std::chrono::milliseconds(10);
    // What lives on is our child, or of a family that will be; those who are not, visitors and theirs, end soon.
    while (!only_visitors && (waitpid(-1, nullptr, 0) > 0 || errno == EINTR)) {
    }
    while (only_visitors ? has_visitors() : kill(-1, 0) == 0) {
        while (waitpid(-1, nullptr, WNOHANG) > 0) {
        }
        std::this_thread::sleep_for(kPause);
    }
}

/// The first process of the namespace: starts criu, tells how it ended, and waits for all others.
[[noreturn]] void be_first(const Job &job, const base::UniqueFd &tell) {
    pid_t last = 32767;
    if (auto text = kernel::read_file(AT_FDCWD, "/proc/sys/kernel/pid_max"))
        last = static_cast<pid_t>(strtol(text->c_str(), nullptr, 10)) - 1;
    clone_args args{};
    args.exit_signal = SIGCHLD;
    args.set_tid = reinterpret_cast<uint64_t>(&last);
    args.set_tid_size = 1;
    const long child = syscall(SYS_clone3, &args, sizeof args);
    if (child == 0)
        execute(job);
    const auto status = static_cast<unsigned char>(child < 0 ? 1 : wait_for(static_cast<pid_t>(child)));
    (void)!write(tell.get(), &status, 1);
    // The terminal, and pipes that somebody waits at, are not ours any more.
    for (int fd = 0; fd <= tell.get(); fd++)
        close(fd);
    wait_for_all(!job.detached);
    _exit(0);
}

Result<int> run_fresh(const Job &job) {
    TRY(leave_mounts());
    if (unshare(CLONE_NEWPID) < 0)
        return base::fail_sys("unshare(CLONE_NEWPID)");
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return base::fail_sys("pipe2");
    base::UniqueFd reading(ends[0]), writing(ends[1]);
    const pid_t first = fork();
    if (first < 0)
        return base::fail_sys("fork");
    if (first == 0) {
        reading.reset();
        if (auto mounted = mount_proc(); !mounted) {
            fmt::print(stderr, "Error: criu-ns: {}\n", mounted.error().message());
            _exit(1);
        }
        be_first(job, writing);
    }
    writing.reset();
    unsigned char status = 0;
    if (read(reading.get(), &status, 1) == 1)
        return status;
    return wait_for(first);
}

Result<int> run_beside(Job job) {
    if (!job.tree)
        return base::fail(base::Error(base::ErrorKind::Usage, "whose namespace?").hint("-t PID names the tree"));
    const std::string pid = job.words[job.tree];
    const base::UniqueFd theirs = TRY(kernel::open_at(AT_FDCWD, fmt::format("/proc/{}/ns/pid", pid).c_str(), O_RDONLY));
    const auto status =
        TRY(parse::parse_status(TRY(kernel::read_file(AT_FDCWD, fmt::format("/proc/{}/status", pid).c_str()))));
    if (status.ns_pid.size() <= 1)
        execute(job); // it is ours
    job.words[job.tree] = std::to_string(status.ns_pid.back());
    // Their mounts are those of criu-ns restore, with their /proc. The working directory stays the same one.
    const base::UniqueFd mounts = TRY(kernel::open_at(AT_FDCWD, fmt::format("/proc/{}/ns/mnt", pid).c_str(), O_RDONLY));
    const base::UniqueFd here = TRY(kernel::open_at(AT_FDCWD, ".", O_PATH | O_DIRECTORY));
    if (setns(mounts.get(), CLONE_NEWNS) < 0 || fchdir(here.get()) < 0)
        return base::fail_sys(fmt::format("enter the mount namespace of {}", pid));
    if (setns(theirs.get(), CLONE_NEWPID) < 0)
        return base::fail_sys(fmt::format("enter the pid namespace of {}", pid));
    const pid_t child = fork();
    if (child < 0)
        return base::fail_sys("fork");
    if (child == 0)
        execute(job);
    return wait_for(child);
}

} // namespace

int main(int argc, char **argv) {
    const Job job = understand(argc, argv);
    const std::string command = job.words.empty() ? "" : job.words.front();
    if (command != "dump" && command != "pre-dump" && command != "restore" && command != "check") {
        const bool asked = command == "-h" || command == "--help";
        fmt::print(asked ? stdout : stderr, "usage: criu-ns [--criu-binary CRIU] dump|pre-dump -t PID [OPTION...]\n"
                                            "       criu-ns [--criu-binary CRIU] restore|check [OPTION...]\n\n"
                                            "Runs criu in a pid namespace of its own: a fresh one, or that of PID.\n");
        return asked ? 0 : kUsage;
    }
    const bool beside = command == "dump" || command == "pre-dump";
    auto ended = beside ? run_beside(job) : run_fresh(job);
    if (ended)
        return *ended;
    fmt::print(stderr, "Error: criu-ns: {}\n", ended.error().message());
    if (const std::string hint = ended.error().hint(); !hint.empty())
        fmt::print(stderr, "Hint:  {}\n", hint);
    return 1;
}
