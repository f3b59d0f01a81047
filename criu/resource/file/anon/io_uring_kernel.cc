// What no call tells of an io_uring instance is read in the kernel's memory: which files are registered, which eventfd
// is told of completions, and what the thread that submits was asked for.
#include "criu/resource/file/anon/io_uring.hh"

#include "compel/ptrace.hh"
#include "criu/kernel/io.hh"
#include "criu/resource/file/hidden_state.hh"
#include "criu/resource/task/traced_threads.hh"

#include <algorithm>
#include <ctime>
#include <fcntl.h>
#include <fmt/format.h>
#include <map>
#include <sys/syscall.h>
#include <unistd.h>

namespace resource::io_uring {
namespace {

/// Open files of a task, as the kernel has them: struct file -> number.
Result<std::map<uint64_t, int>> files_of(FileDumpContext &context, const tree::TaskFacts &task) {
    const KernelMemory &memory = *TRY(kernel_memory(context));
    const auto threads = TRY(traced_threads(memory));
    const auto thread = threads.find(task.voice.value);
    if (thread == threads.end())
        return base::fail(base::ErrorKind::System, "the task is not found in the kernel's memory");
    const uint64_t table = TRY(memory.member(TRY(memory.member(thread->second, "task_struct", "files")), "files_struct",
                                             "fdt")),
                   slots = TRY(memory.member(table, "fdtable", "fd"));
    std::map<uint64_t, int> found;
    for (const int number : task.fds) {
        uint64_t file = 0;
        TRY(memory.read(slots + sizeof file * static_cast<uint64_t>(number),
                        std::as_writable_bytes(std::span(&file, 1))));
        found.emplace(file, number);
    }
    return found;
}

Result<uint32_t> id_of(FileDumpContext &context, const tree::TaskFacts &task, int number) {
    const base::UniqueFd pidfd = TRY(compel::open_pidfd(task.voice));
    base::UniqueFd fd(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd.get(), number, 0)));
    if (!fd)
        return base::fail_sys("pidfd_getfd");
    return TRY(context.dump_passed(std::move(fd))).value;
}

/// The kernel's structure of an instance.
class Instance {
public:
    static Result<Instance> of(FileDumpContext &context, const OpenFile &file) {
        const KernelMemory &memory = *TRY(kernel_memory(context));
        return Instance(memory, TRY(memory.member(TRY(memory.file(file.fd)), "file", "private_data")));
    }

    /// Of struct file, 0 for an empty place.
    Result<std::vector<uint64_t>> files(uint32_t count) const {
        const uint64_t nodes = TRY(memory_.member(context_, "io_ring_ctx", "file_table.data.nodes"));
        const uint32_t known =
            static_cast<uint32_t>(TRY(memory_.member(context_, "io_ring_ctx", "file_table.data.nr")));
        std::vector<uint64_t> files;
        for (uint32_t i = 0; i < std::min(count, known); i++) {
            constexpr uint64_t kFlags = 3; // in the lowest bits of the pointer
            uint64_t node = 0;
            TRY(memory_.read(nodes + i * sizeof node, std::as_writable_bytes(std::span(&node, 1))));
            files.push_back(node ? TRY(memory_.member(node, "io_rsrc_node", "file_ptr")) & ~kFlags : 0);
        }
        return files;
    }

    struct EventFd {
        uint64_t object = 0; ///< struct eventfd_ctx
        bool async = false;
    };
    Result<EventFd> eventfd() const {
        const uint64_t told = TRY(memory_.member(context_, "io_ring_ctx", "io_ev_fd"));
        if (!told)
            return EventFd{};
        const uint64_t async = TRY(memory_.member(told, "io_ev_fd", "eventfd_async"));
        return EventFd{TRY(memory_.member(told, "io_ev_fd", "cq_ev_fd")), (async & 1) != 0};
    }

    Result<uint32_t> flags() const {
        return static_cast<uint32_t>(TRY(memory_.member(context_, "io_ring_ctx", "flags")));
    }

    /// Milliseconds.
    Result<uint32_t> thread_idle() const {
        timespec tick{};
        clock_getres(CLOCK_MONOTONIC_COARSE, &tick);
        const uint64_t ticks = TRY(memory_.member(context_, "io_ring_ctx", "sq_thread_idle"));
        constexpr uint64_t kNsPerMs = 1'000'000;
        return static_cast<uint32_t>(ticks * static_cast<uint64_t>(tick.tv_nsec) / kNsPerMs);
    }

    /// struct eventfd_ctx behind a descriptor's struct file.
    Result<uint64_t> object_of(uint64_t file) const { return memory_.member(file, "file", "private_data"); }

private:
    Instance(const KernelMemory &memory, uint64_t context) : memory_(memory), context_(context) {}
    const KernelMemory &memory_;
    uint64_t context_;
};

Result<void> add_files(FileDumpContext &context, const tree::TaskFacts &task, const Instance &instance, uint32_t count,
                       const std::map<uint64_t, int> &open, img::ext_io_uring &uring) {
    for (const uint64_t file : TRY(instance.files(count))) {
        const auto number = open.find(file);
        if (file && number == open.end())
            return base::fail(
                base::Error(base::ErrorKind::Unsupported,
                            fmt::format("the file that is registered as number {} is not open in the task "
                                        "any more",
                                        uring.files_size()))
                    .hint("only files that the task has a descriptor of can be registered again"));
        uring.add_files(file ? TRY(id_of(context, task, number->second)) : 0);
    }
    return {};
}

Result<void> add_eventfd(FileDumpContext &context, const tree::TaskFacts &task, const Instance &instance,
                         const std::map<uint64_t, int> &open, img::ext_io_uring &uring) {
    const auto told = TRY(instance.eventfd());
    if (!told.object)
        return {};
    for (const auto &[file, number] : open) {
        const std::string path = fmt::format("/proc/{}/fd/{}", task.voice.value, number);
        if (kernel::read_link(AT_FDCWD, path.c_str()).value_or("") != "anon_inode:[eventfd]" ||
            TRY(instance.object_of(file)) != told.object)
            continue;
        uring.set_eventfd(TRY(id_of(context, task, number)));
        uring.set_eventfd_async(told.async);
        return {};
    }
    return base::unsupported("the eventfd that is told of completions is not open in the task any more");
}

Result<void> add_thread(const Instance &instance, const parse::IoUringInfo &info, img::ext_io_uring &uring) {
    uring.set_flags(uring.flags() | kByThread);
    uring.set_thread_idle_ms(TRY(instance.thread_idle()));
    if (TRY(instance.flags()) & IORING_SETUP_ATTACH_WQ)
        return base::unsupported("it shares the kernel thread that submits with another instance");
    if (TRY(instance.flags()) & kOnProcessor) {
        uring.set_flags(uring.flags() | kOnProcessor);
        uring.set_thread_cpu(static_cast<uint32_t>(std::max(0, info.thread_cpu)));
    }
    return {};
}

/// When all tables are known: registered files may be any.
struct Unfinished {
    OpenFile file;
    img::file_entry entry;
    parse::IoUringInfo info;
    bool eventfd = false;
};

Result<void> finish_one(FileDumpContext &context, Unfinished &one) {
    const auto task = std::ranges::find(context.tasks, one.file.holder, &tree::TaskFacts::pid);
    if (task == context.tasks.end())
        return base::fail(base::ErrorKind::Bug, "an instance of io_uring without a task");
    const Instance instance = TRY(Instance::of(context, one.file));
    img::ext_io_uring &uring = *one.entry.mutable_ext()->mutable_io_uring();
    const auto open = one.info.files || one.eventfd ? TRY(files_of(context, *task)) : std::map<uint64_t, int>();
    if (one.info.files)
        TRY(add_files(context, *task, instance, one.info.files, open, uring));
    if (one.eventfd)
        TRY(add_eventfd(context, *task, instance, open, uring));
    if (one.info.thread != -1)
        TRY(add_thread(instance, one.info, uring));
    return context.images.add(image::ImageKind::Files, 0, one.entry);
}

} // namespace

void remember_rest(FileDumpContext &context, const OpenFile &file, const img::file_entry &entry,
                   const parse::IoUringInfo &info, bool eventfd) {
    context.states.of<std::vector<Unfinished>>().push_back({file, entry, info, eventfd});
}

Result<void> finish(FileDumpContext &context) {
    auto &unfinished = context.states.of<std::vector<Unfinished>>();
    for (Unfinished &one : unfinished) {
        // A descriptor of ours lives as long as this does.
        const base::UniqueFd pidfd = TRY(compel::open_pidfd(one.file.voice));
        const base::UniqueFd own(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd.get(), one.file.number, 0)));
        if (!own)
            return base::fail_sys("pidfd_getfd");
        one.file.fd = own.get();
        TRY_CTX(finish_one(context, one),
                fmt::format("task {}: fd {} (io_uring)", one.file.holder.value, one.file.number));
    }
    unfinished.clear();
    return {};
}

} // namespace resource::io_uring
