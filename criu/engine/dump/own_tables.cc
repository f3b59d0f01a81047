#include "criu/engine/dump/own_tables.hh"

#include "criu/kernel/io.hh"
#include "criu/parse/fdinfo.hh"

#include <fcntl.h>
#include <fmt/format.h>

namespace dump {
namespace {

/// Whether descriptors are closed by execve, as /proc tells it: the agent of the process sees another table.
Result<std::vector<bool>> close_on_exec_of(const tree::ThreadFacts &thread) {
    std::vector<bool> flags;
    for (const int number : thread.own_fds) {
        const std::string path = fmt::format("/proc/{}/fdinfo/{}", thread.tid.value, number);
        const auto info = TRY(parse::parse_fdinfo(TRY(kernel::read_file(AT_FDCWD, path.c_str()))));
        flags.push_back(info.flags & O_CLOEXEC);
    }
    return flags;
}

} // namespace

Result<void> dump_own_tables(FileTable &files, std::set<uint32_t> &done, const tree::TaskFacts &task) {
    for (const tree::ThreadFacts &thread : task.threads) {
        if (!thread.own_table || !done.insert(thread.own_table).second)
            continue;
        const TableOwner owner{task.pid, thread.tid, thread.own_fds, thread.own_table};
        TRY_CTX(files.add_table(owner, TRY(close_on_exec_of(thread))), fmt::format("thread {}", thread.tid.value));
    }
    return {};
}

} // namespace dump
