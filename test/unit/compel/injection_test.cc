// The agent in a real process: what it can do, and that the process never notices, even when the tool dies.
#include "compel/freezer.hh"
#include "compel/injection.hh"

#include <catch2/catch.hpp>
#include <csignal>
#include <cstdio>
#include <elf.h>
#include <fstream>
#include <poll.h>
#include <sstream>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace compel;

#define REQUIRE_OK(expr)                                                                                               \
    do {                                                                                                               \
        auto &&outcome = (expr);                                                                                       \
        INFO((outcome ? std::string() : outcome.error().message()));                                                   \
        REQUIRE(outcome.has_value());                                                                                  \
    } while (0)

namespace {

std::string file(const std::string &path) {
    std::ifstream in(path);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
}

InjectionSite site_of(Pid pid, const RemoteMemory &memory) {
    std::istringstream maps(file("/proc/" + std::to_string(pid.value) + "/maps"));
    InjectionSite site{0x10000000000, 0};
    for (std::string line; std::getline(maps, line);)
        if (line.find("[vdso]") != std::string::npos) {
            uint64_t start = std::stoull(line, nullptr, 16);
            auto head = memory.read_value(RemotePtr<Elf64_Ehdr>(start));
            site.boot_code = start + (head->e_shoff + head->e_shnum * head->e_shentsize + 15) / 16 * 16;
        }
    return site;
}

/// A child that runs `body` and whose end is awaited by status().
class Child {
public:
    template <class F> explicit Child(F body) {
        pid_ = fork();
        if (pid_ == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            _exit(body());
        }
    }
    ~Child() {
        if (pid_ > 0) {
            kill(pid_, SIGKILL);
            waitpid(pid_, nullptr, 0);
        }
    }
    int status() {
        int raw = 0;
        waitpid(pid_, &raw, 0);
        pid_ = -1;
        return raw;
    }
    Pid pid() const { return Pid(pid_); }
    void until_state(char state) const {
        for (;;) {
            std::string text = file("/proc/" + std::to_string(pid_) + "/stat");
            if (text.find(std::string(") ") + state) != std::string::npos)
                return;
            sched_yield();
        }
    }

private:
    pid_t pid_;
};

double seconds() {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return double(t.tv_sec) + double(t.tv_nsec) / 1e9;
}

int sleep_and_measure() {
    double before = seconds();
    timespec half{0, 500'000'000};
    int r = nanosleep(&half, nullptr);
    double took = seconds() - before;
    return r == 0 && took >= 0.5 && took < 0.75 ? 0 : 1;
}

std::string picture(Pid pid) {
    std::string dir = "/proc/" + std::to_string(pid.value);
    return file(dir + "/maps") + file(dir + "/syscall");
}

} // namespace

TEST_CASE("a batch runs inside a sleeping process, which never notices") {
    Child child(sleep_and_measure);
    child.until_state('S');
    std::string before = picture(child.pid());
    {
        auto tree = FrozenTree::freeze(child.pid(), {});
        REQUIRE_OK(tree);
        auto &thread = tree->processes()[0].threads[0];
        auto memory = RemoteMemory::open(child.pid());
        REQUIRE_OK(memory);
        auto agent =
            Injection::enter(StoppedThread(thread.tid), thread.registers, *memory, site_of(child.pid(), *memory), 0);
        REQUIRE_OK(agent);
        Batch batch = agent->batch();
        size_t pid = batch.call(SYS_getpid, {});
        uint64_t name = batch.out(16);
        size_t comm = batch.call(SYS_prctl, {PR_GET_NAME, name});
        size_t bad = batch.call(SYS_close, {12345});
        REQUIRE_OK(agent->run(batch));
        CHECK(batch.result(pid) == child.pid().value);
        CHECK(batch.result(comm) == 0);
        CHECK(std::string(reinterpret_cast<const char *>(batch.bytes(name, 16).data())) == "unit");
        CHECK(batch.result(bad) == -EBADF);
        int fd[2];
        REQUIRE(pipe(fd) == 0);
        Batch second = agent->batch();
        std::string_view text = "hello";
        uint64_t at = second.in(std::as_bytes(std::span(text)));
        second.call_with_word(SYS_write, {0, at, text.size()}, 0, agent->passed_fd());
        REQUIRE_OK(agent->run(second, fd[1]));
        close(fd[1]);
        char got[6] = {};
        CHECK(read(fd[0], got, 5) == 5);
        CHECK(std::string(got) == "hello");
        CHECK(read(fd[0], got, 1) == 0); // the process does not have it any more
        close(fd[0]);
        REQUIRE_OK(agent->leave());
    }
    child.until_state('S');
    // It sleeps in restart_syscall now; everything else is as before.
    CHECK(picture(child.pid()).substr(0, before.rfind('\n', before.size() - 2)) ==
          before.substr(0, before.rfind('\n', before.size() - 2)));
    CHECK(child.status() == 0);
}

TEST_CASE("threads run their own batches at once") {
    Child child([] {
        std::vector<std::thread> threads;
        std::vector<int> bad(20, 1);
        for (int i = 0; i < 20; i++)
            threads.emplace_back([&bad, i] { bad[size_t(i)] = sleep_and_measure(); });
        for (auto &t : threads)
            t.join();
        for (int b : bad)
            if (b)
                return 1;
        return 0;
    });
    while (file("/proc/" + std::to_string(child.pid().value) + "/status").find("Threads:\t21") == std::string::npos)
        sched_yield();
    {
        auto tree = FrozenTree::freeze(child.pid(), {});
        REQUIRE_OK(tree);
        auto &threads = tree->processes()[0].threads;
        REQUIRE(threads.size() == 21);
        auto memory = RemoteMemory::open(child.pid());
        auto agent = Injection::enter(StoppedThread(threads[0].tid), threads[0].registers, *memory,
                                      site_of(child.pid(), *memory), 20);
        REQUIRE_OK(agent);
        std::vector<Injection::ThreadRun> runs;
        for (size_t i = 1; i < threads.size(); i++) {
            StoppedThread thread(threads[i].tid);
            runs.push_back({thread, threads[i].registers, *thread.signal_mask(), agent->thread_batch(i - 1)});
            runs.back().batch.call(SYS_gettid, {});
        }
        REQUIRE_OK(agent->run_threads(runs));
        for (auto &run : runs)
            CHECK(run.batch.result(0) == run.thread.tid().value);
        REQUIRE_OK(agent->leave());
    }
    CHECK(child.status() == 0);
}

TEST_CASE("the process recovers when the tool is killed at any stop") {
    for (int steps = 0; steps < 12; steps++) {
        CAPTURE(steps);
        Child child(sleep_and_measure);
        child.until_state('S');
        std::string before = picture(child.pid());
        Child tool([&] {
            auto tree = FrozenTree::freeze(child.pid(), {});
            auto &thread = tree->processes()[0].threads[0];
            auto memory = RemoteMemory::open(child.pid());
            // Dies somewhere in the middle: the alarm's grain is the progress of the injection itself.
            itimerval soon{{0, 0}, {0, steps * 30 + 1}};
            signal(SIGALRM, SIG_DFL);
            setitimer(ITIMER_REAL, &soon, nullptr);
            for (;;) {
                auto agent = Injection::enter(StoppedThread(thread.tid), thread.registers, *memory,
                                              site_of(child.pid(), *memory), 0);
                Batch batch = agent->batch();
                batch.call(SYS_getpid, {});
                if (!agent->run(batch) || !agent->leave())
                    return 1;
            }
        });
        CHECK(WTERMSIG(tool.status()) == SIGALRM);
        child.until_state('S');
        CHECK(file("/proc/" + std::to_string(child.pid().value) + "/maps") ==
              before.substr(0, before.rfind('\n', before.size() - 2) + 1));
        CHECK(child.status() == 0);
    }
}
