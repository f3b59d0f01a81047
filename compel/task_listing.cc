#include "compel/task_listing.hh"

#include "base/unique_fd.hh"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <memory>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace compel {

std::string slurp(const std::string &path) {
    base::UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    std::string text;
    char buffer[4096];
    ssize_t n;
    while (fd && (n = read(fd.get(), buffer, sizeof buffer)) > 0)
        text.append(buffer, static_cast<size_t>(n));
    return text;
}

namespace {

// Threads that the kernel has made for a process look like its own, but have no program to run: those of io_uring and
// vhost. A stop would make them give up what they wait for. What tells them is a file that takes microseconds; but a
// thread of libc has registered its list of robust futexes, which takes a call to see.
bool is_of_kernel(Pid pid, Pid tid) {
    void *robust_list = nullptr;
    size_t size = 0;
    if (syscall(SYS_get_robust_list, tid.value, &robust_list, &size) == 0 && robust_list)
        return false;
    constexpr unsigned kIoWorker = 0x10, kUserWorker = 0x4000; // PF_IO_WORKER, PF_USER_WORKER
    return flags_of(pid, tid) & (kIoWorker | kUserWorker);
}

} // namespace

unsigned flags_of(Pid pid, Pid tid) {
    const std::string text = slurp(fmt::format("/proc/{}/task/{}/stat", pid.value, tid.value));
    const size_t close = text.rfind(')');
    unsigned flags = 0;
    if (close != std::string::npos)
        (void)sscanf(text.c_str() + close + 1, " %*c %*d %*d %*d %*d %*d %u", &flags);
    return flags;
}

std::vector<Pid> threads_of(Pid pid) {
    std::vector<Pid> tids;
    std::unique_ptr<DIR, int (*)(DIR *)> dir(opendir(fmt::format("/proc/{}/task", pid.value).c_str()), closedir);
    while (dirent *entry = dir ? readdir(dir.get()) : nullptr)
        if (const Pid tid(atoi(entry->d_name)); tid.value > 0 && (tid == pid || !is_of_kernel(pid, tid)))
            tids.push_back(tid);
    std::stable_sort(tids.begin(), tids.end(), [&](Pid a, Pid b) {
        return (a == pid) > (b == pid) ? true : (b == pid) ? false : a < b;
    });
    return tids;
}

Stat stat_of(Pid pid, Pid tid) {
    std::string text = slurp(fmt::format("/proc/{}/task/{}/stat", pid.value, tid.value));
    size_t close = text.rfind(')'); // the name may hold anything
    Stat stat;
    int parent = 0;
    if (close != std::string::npos && sscanf(text.c_str() + close + 1, " %c %d", &stat.state, &parent) == 2)
        stat.parent = Pid(parent);
    return stat;
}

namespace {

constexpr const char *kFormat = "/proc/{}/task/{}/children";

// One pass over /proc: parents of all processes. For kernels without CONFIG_PROC_CHILDREN.
std::multimap<Pid, Pid> all_children() {
    std::multimap<Pid, Pid> children;
    std::unique_ptr<DIR, int (*)(DIR *)> dir(opendir("/proc"), closedir);
    while (dirent *entry = dir ? readdir(dir.get()) : nullptr)
        if (Pid pid(atoi(entry->d_name)); pid.value > 0)
            children.emplace(stat_of(pid, pid).parent, pid);
    return children;
}

void append_numbers(const std::string &text, std::vector<Pid> &pids) {
    const char *p = text.data(), *end = p + text.size();
    while (p < end) {
        int value = 0;
        auto [next, error] = std::from_chars(p, end, value);
        if (error == std::errc())
            pids.push_back(Pid(value));
        p = next + 1;
    }
}

/// Of a process with more threads than there are processes: one pass over these takes less time than asking every
/// thread, and mostly tells that there is nothing to ask for.
size_t processes_on_machine() {
    struct stat proc {};
    return stat("/proc", &proc) == 0 ? proc.st_nlink : SIZE_MAX;
}

std::vector<Child> children_of_threads(Pid pid, const std::vector<Pid> &tids) {
    std::vector<Child> children;
    for (Pid tid : tids) {
        std::vector<Pid> found;
        append_numbers(slurp(fmt::format(fmt::runtime(kFormat), pid.value, tid.value)), found);
        for (Pid child : found)
            children.push_back({child, tid});
    }
    return children;
}

} // namespace

const std::multimap<Pid, Pid> &ChildFinder::all() {
    if (!all_)
        all_ = all_children();
    return *all_;
}

std::vector<Child> ChildFinder::children_of(Pid pid, const std::vector<Pid> &tids) {
    const bool by_thread = access(fmt::format(fmt::runtime(kFormat), pid.value, pid.value).c_str(), F_OK) == 0;
    if (by_thread && !(tids.size() > processes_on_machine() && !has_any(pid)))
        return children_of_threads(pid, tids);
    std::vector<Child> children;
    auto [from, to] = all().equal_range(pid);
    for (auto it = from; it != to; ++it)
        children.push_back({it->second, Pid(0)});
    return children;
}

} // namespace compel
