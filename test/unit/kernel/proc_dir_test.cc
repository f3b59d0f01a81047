#include "criu/kernel/proc_dir.hh"

#include <algorithm>
#include <catch2/catch.hpp>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

using base::Pid;
using kernel::ProcDir;

TEST_CASE("ProcDir: files, links, threads and descriptors of this process", "[kernel]") {
    auto dir = ProcDir::open(Pid(getpid()));
    REQUIRE(dir);
    auto stat = dir->read_file("stat");
    REQUIRE(stat);
    CHECK(stat->starts_with(std::to_string(getpid()) + " ("));
    CHECK(dir->read_link("exe")->starts_with("/"));
    auto tasks = dir->list_tasks();
    REQUIRE(tasks);
    CHECK(tasks->front() == Pid(getpid()));
    auto fds = dir->list_fds();
    REQUIRE(fds);
    CHECK(std::ranges::is_sorted(*fds));
    CHECK(std::ranges::find(*fds, dir->fd()) != fds->end());
    auto thread = dir->open_thread(Pid(getpid()));
    REQUIRE(thread);
    CHECK(thread->read_file("comm"));
}

TEST_CASE("ProcDir: a missing file is not a missing task", "[kernel]") {
    auto dir = ProcDir::open(Pid(getpid()));
    REQUIRE(dir);
    auto file = dir->read_file("no-such-file");
    REQUIRE_FALSE(file);
    CHECK(file.error().kind() == base::ErrorKind::System);
    CHECK(file.error().code() == ENOENT);
}

TEST_CASE("ProcDir: death of the task is told as Died", "[kernel]") {
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        pause();
        _exit(0);
    }
    auto dir = ProcDir::open(Pid(child));
    REQUIRE(dir);
    kill(child, SIGKILL);
    REQUIRE(waitpid(child, nullptr, 0) == child);
    for (const char *name : {"stat", "status", "maps"})
        CHECK(dir->read_file(name).error().kind() == base::ErrorKind::Died);
    CHECK(dir->list_fds().error().kind() == base::ErrorKind::Died);
    CHECK(dir->read_link("exe").error().kind() == base::ErrorKind::Died);
    CHECK(ProcDir::open(Pid(child)).error().kind() == base::ErrorKind::Died);
}

TEST_CASE("read_all: large files, reused buffers, empty files", "[kernel]") {
    char path[] = "/tmp/criu-unit-XXXXXX";
    base::UniqueFd fd(mkstemp(path));
    REQUIRE(fd);
    unlink(path);
    std::string text(300000, 'x');
    text.back() = 'y';
    REQUIRE(write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    std::string out = "old";
    REQUIRE(lseek(fd.get(), 0, SEEK_SET) == 0);
    REQUIRE(kernel::read_all(fd.get(), out));
    CHECK(out == text);
    REQUIRE(kernel::read_all(fd.get(), out));
    CHECK(out.empty());
}
