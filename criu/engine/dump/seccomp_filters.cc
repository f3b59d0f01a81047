#include "criu/engine/dump/seccomp_filters.hh"

#include "images_pb.hh"

#include <cerrno>
#include <fmt/format.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <map>
#include <sys/ptrace.h>

namespace dump {
namespace {

constexpr uint64_t kSuspendSeccomp = 1 << 21; // PTRACE_O_SUSPEND_SECCOMP
constexpr auto kGetFilter = static_cast<__ptrace_request>(0x420c);
constexpr auto kGetMetadata = static_cast<__ptrace_request>(0x420d);

struct Metadata {
    uint64_t filter_off, flags;
};

/// One filter: code and flags. Empty code: there is no filter of this index.
struct Filter {
    std::string code;
    uint64_t flags = 0;
};

Result<Filter> read_filter(base::Pid tid, uint64_t index) {
    auto *at = reinterpret_cast<void *>(index);
    long instructions = ptrace(kGetFilter, tid.value, at, nullptr);
    if (instructions < 0 && errno == ENOENT)
        return Filter{};
    if (instructions < 0)
        return base::fail(std::move(base::Error::sys("read a seccomp filter")
                                        .hint("this needs CAP_SYS_ADMIN, and no seccomp filter "
                                              "on criu itself")));
    Filter filter;
    filter.code.resize(static_cast<size_t>(instructions) * sizeof(sock_filter));
    if (ptrace(kGetFilter, tid.value, at, filter.code.data()) < 0)
        return base::fail_sys("read a seccomp filter");
    Metadata metadata{index, 0};
    if (ptrace(kGetMetadata, tid.value, sizeof metadata, &metadata) > 0)
        filter.flags = metadata.flags;
    return filter;
}

/// Filters by predecessor and content: threads that inherited one share it.
class Forest {
public:
    /// The index of the filter behind `previous` (0 = none, else index + 1).
    uint32_t add(uint32_t previous, const Filter &filter) {
        auto [it, is_new] = known_.try_emplace({previous, filter.flags, filter.code}, all_.seccomp_filters_size());
        if (is_new) {
            img::seccomp_filter *entry = all_.add_seccomp_filters();
            entry->set_filter(filter.code);
            if (previous)
                entry->set_prev(previous - 1);
            if (filter.flags)
                entry->set_flags(static_cast<uint32_t>(filter.flags));
        }
        return it->second;
    }
    const img::seccomp_entry &entry() const { return all_; }

private:
    std::map<std::tuple<uint32_t, uint64_t, std::string>, uint32_t> known_;
    img::seccomp_entry all_;
};

/// Neither to suspend a filter nor to read one is allowed to anybody but the machine's root.
std::unexpected<base::Error> not_suspended(base::Error why) {
    if (why.code() == EPERM)
        why.hint("CAP_SYS_ADMIN outside of all user namespaces is needed to suspend and to read a filter: dump as root "
                 "from there, or run the program without one (podman run --security-opt seccomp=unconfined)");
    return base::fail(std::move(why.ctx("suspend its seccomp filter")));
}

Result<void> add_thread(Forest &forest, tree::ThreadFacts &thread) {
    compel::StoppedThread stopped(thread.tid);
    if (auto suspended = stopped.set_options(kSuspendSeccomp); !suspended)
        return not_suspended(std::move(suspended).error());
    if (thread.status.seccomp != SECCOMP_MODE_FILTER)
        return {};
    uint32_t previous = 0;
    for (uint64_t index = 0;; index++) { // 0 is the oldest
        Filter filter = TRY(read_filter(thread.tid, index));
        if (filter.code.empty())
            break;
        thread.seccomp_filter = forest.add(previous, filter);
        previous = thread.seccomp_filter + 1;
    }
    return {};
}

} // namespace

Result<void> dump_seccomp_filters(image::ImageDirWriter &images, std::vector<tree::TaskFacts> &tasks) {
    Forest forest;
    for (tree::TaskFacts &task : tasks)
        for (tree::ThreadFacts &thread : task.threads)
            if (thread.status.seccomp)
                TRY_CTX(add_thread(forest, thread),
                        fmt::format("task {}: thread {}", task.pid.value, thread.tid.value));
    if (forest.entry().seccomp_filters_size() == 0)
        return {};
    return images.add(image::ImageKind::Seccomp, 0, forest.entry());
}

} // namespace dump
