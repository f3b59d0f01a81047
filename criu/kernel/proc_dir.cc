#include "criu/kernel/proc_dir.hh"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <memory>
#include <sstream>

namespace kernel {

namespace {

std::unexpected<base::Error> died(base::Pid pid) {
    return base::fail(base::Error::sys(ESRCH, "process " + std::to_string(pid.value)));
}

} // namespace

Result<std::vector<int>> list_numeric_entries(base::UniqueFd dir) {
    std::unique_ptr<DIR, int (*)(DIR *)> stream(fdopendir(dir.get()), closedir);
    if (!stream)
        return base::fail_sys("fdopendir");
    (void)dir.release();
    std::vector<int> out;
    for (;;) {
        errno = 0;
        const dirent *entry = readdir(stream.get());
        if (!entry)
            break;
        const char *end = entry->d_name + std::strlen(entry->d_name);
        int value = 0;
        auto [stop, error] = std::from_chars(entry->d_name, end, value);
        if (error == std::errc{} && stop == end)
            out.push_back(value);
    }
    if (errno != 0)
        return base::fail_sys("readdir");
    std::ranges::sort(out);
    return out;
}

Result<ProcDir> ProcDir::open(base::Pid pid) {
    std::string path = "/proc/" + std::to_string(pid.value);
    base::UniqueFd fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!fd)
        return errno == ENOENT ? died(pid) : base::fail_sys("open " + path);
    return ProcDir(pid, std::move(fd));
}

Result<ProcDir> ProcDir::open_thread(base::Pid tid) const {
    std::string name = "task/" + std::to_string(tid.value);
    base::UniqueFd fd(::openat(fd_.get(), name.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!fd)
        return errno == ENOENT ? died(tid) : base::fail_sys("open " + name);
    return ProcDir(tid, std::move(fd));
}

base::Error ProcDir::explain(base::Error error) const {
    if (error.code() == ENOENT && ::faccessat(fd_.get(), "stat", F_OK, 0) != 0)
        return base::Error::sys(ESRCH, "process " + std::to_string(pid_.value));
    return std::move(error.ctx("/proc/" + std::to_string(pid_.value)));
}

Result<void> ProcDir::read_file(const char *name, std::string &out) const {
    auto done = kernel::read_file(fd_.get(), name, out);
    if (!done)
        return base::fail(explain(std::move(done).error()));
    return {};
}

Result<std::string> ProcDir::read_file(const char *name) const {
    std::string out;
    TRY(read_file(name, out));
    return out;
}

Result<std::string> ProcDir::read_link(const char *name) const {
    auto link = kernel::read_link(fd_.get(), name);
    if (!link)
        return base::fail(explain(std::move(link).error()));
    return link;
}

Result<base::UniqueFd> ProcDir::open_file(const char *name, int flags) const {
    auto fd = kernel::open_at(fd_.get(), name, flags);
    if (!fd)
        return base::fail(explain(std::move(fd).error()));
    return fd;
}

Result<std::vector<int>> ProcDir::list_numbers(const char *name) const {
    base::UniqueFd dir = TRY(open_file(name, O_RDONLY | O_DIRECTORY));
    auto numbers = list_numeric_entries(std::move(dir));
    if (!numbers)
        return base::fail(explain(std::move(numbers).error()));
    return numbers;
}

Result<std::vector<base::Pid>> ProcDir::list_tasks() const {
    std::vector<base::Pid> out;
    for (int tid : TRY(list_numbers("task")))
        out.emplace_back(tid);
    return out;
}

Result<std::vector<int>> ProcDir::list_fds() const {
    return list_numbers("fd");
}

std::vector<base::Pid> children_of(base::Pid pid) {
    std::vector<base::Pid> children;
    auto process = ProcDir::open(pid);
    auto threads = process ? process->list_tasks() : Result<std::vector<base::Pid>>();
    if (!process || !threads)
        return children;
    for (base::Pid tid : *threads) {
        std::istringstream text(process->read_file(fmt::format("task/{}/children", tid.value).c_str()).value_or(""));
        for (pid_t child = 0; text >> child;)
            children.emplace_back(child);
    }
    return children;
}

} // namespace kernel
