#include "criu/resource/file/mqueue/message_queue.hh"

#include "criu/kernel/child.hh"
#include "criu/kernel/namespaces.hh"
#include "criu/resource/file/mqueue/mqueue_notify.hh"

#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <mqueue.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

namespace resource {
namespace {

constexpr long kMqueueMagic = 0x19800202;
constexpr uint64_t kMostMessages = 65536, kMostMessageSize = 16u << 20; // the kernel's own hard limits

// ---- dump ----------------------------------------------------------------------------------------------------------

struct DumpedQueues {
    std::set<uint64_t> inodes;
};

/// Messages as a child has read them: each is a priority, a length, and room for the longest.
class Messages {
public:
    static Result<Messages> reserve(const mq_attr &attributes) {
        Messages messages;
        messages.room_ = sizeof(Head) + static_cast<size_t>(attributes.mq_msgsize);
        messages.count_ = static_cast<size_t>(attributes.mq_curmsgs);
        messages.memory_ = mmap(nullptr, messages.room_ * messages.count_, PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (messages.memory_ == MAP_FAILED)
            return base::fail_sys("memory for the messages of a queue");
        return messages;
    }
    Messages(Messages &&other) noexcept
        : memory_(std::exchange(other.memory_, MAP_FAILED)), room_(other.room_), count_(other.count_) {}
    Messages &operator=(Messages &&) = delete;
    ~Messages() {
        if (memory_ != MAP_FAILED)
            munmap(memory_, room_ * count_);
    }

    /// Takes all messages out and puts them back in their order. Returns an errno.
    int take_and_put_back(int queue) {
        size_t taken = 0;
        for (; taken < count_; taken++) {
            const ssize_t n = mq_receive(queue, data(taken), room_ - sizeof(Head), &head(taken).priority);
            if (n < 0)
                break;
            head(taken).length = static_cast<uint32_t>(n);
        }
        const int error = taken < count_ ? errno : 0;
        for (size_t i = 0; i < taken; i++)
            if (mq_send(queue, data(i), head(i).length, head(i).priority) < 0)
                return errno;
        return error;
    }

    void describe(img::ext_mqueue &queue) const {
        for (size_t i = 0; i < count_; i++) {
            auto *message = queue.add_messages();
            message->set_priority(head(i).priority);
            message->set_data(data(i), head(i).length);
        }
    }

private:
    struct Head {
        uint32_t priority, length;
    };
    Messages() = default;
    char *at(size_t i) const { return static_cast<char *>(memory_) + i * room_; }
    Head &head(size_t i) const { return *reinterpret_cast<Head *>(at(i)); }
    char *data(size_t i) const { return at(i) + sizeof(Head); }

    void *memory_ = MAP_FAILED;
    size_t room_ = 0, count_ = 0;
};

/// There is no way to look at a message without taking it. A child does so in a session of its own: what ends the tool
/// in between does not end it, and it takes microseconds.
Result<void> read_messages(int queue, const mq_attr &attributes, img::ext_mqueue &entry) {
    entry.set_has_messages(true);
    if (attributes.mq_curmsgs == 0)
        return {};
    Messages messages = TRY(Messages::reserve(attributes));
    const pid_t child = fork();
    if (child < 0)
        return base::fail_sys("fork");
    if (child == 0) {
        setsid();
        _exit(messages.take_and_put_back(queue));
    }
    if (const int error = TRY_CTX(kernel::exit_code(child), "read the messages of a queue"))
        return base::fail_sys(error, "read the messages of a queue");
    messages.describe(entry);
    return {};
}

// ---- restore -------------------------------------------------------------------------------------------------------

/// A queue that some descriptions of the image are of. One that had no name has one until all are open: a description
/// by another way than mq_open() would have a flag more (O_LARGEFILE).
struct OpenQueue {
    base::UniqueFd fd;
    std::string name;
    bool unlinked = false;
    base::UniqueFd space{}; ///< its ipc namespace, where not that of the root task

    OpenQueue(base::UniqueFd f, std::string n, bool u) : fd(std::move(f)), name(std::move(n)), unlinked(u) {}
    OpenQueue(OpenQueue &&other) noexcept = default;
    OpenQueue &operator=(OpenQueue &&) = delete;
    ~OpenQueue() {
        const auto unlink = [&]() -> Result<void> {
            return mq_unlink(name.c_str()) < 0 ? base::fail_sys("mq_unlink") : Result<void>{};
        };
        if (fd && unlinked)
            (void)(space ? kernel::inside(std::array{space.get()}, unlink) : unlink());
    }
};

struct OpenQueues {
    std::map<uint64_t, OpenQueue> by_inode; ///< as in the image
};

Result<void> check(const img::ext_mqueue &queue) {
    if (queue.max_messages() > kMostMessages || queue.message_size() > kMostMessageSize ||
        static_cast<uint64_t>(queue.messages_size()) > queue.max_messages())
        return base::bad_image("a message queue with impossible sizes");
    for (const auto &message : queue.messages())
        if (message.data().size() > queue.message_size())
            return base::bad_image("a message that is longer than its queue allows");
    return {};
}

Result<base::UniqueFd> create(const img::ext_mqueue &queue, const std::string &name) {
    mq_attr attributes{};
    attributes.mq_maxmsg = static_cast<long>(queue.max_messages());
    attributes.mq_msgsize = static_cast<long>(queue.message_size());
    base::UniqueFd fd(mq_open(name.c_str(), O_CREAT | O_EXCL | O_RDWR | O_NONBLOCK | O_CLOEXEC, 0600, &attributes));
    if (!fd) {
        auto error = base::Error::sys(fmt::format("create the message queue {}", name));
        if (errno == EINVAL || errno == EMFILE || errno == ENOMEM)
            error.hint("it is larger than /proc/sys/fs/mqueue/ or RLIMIT_MSGQUEUE allow");
        return base::fail(std::move(error));
    }
    return fd;
}

Result<void> fill(int fd, const img::ext_mqueue &queue) {
    for (const auto &message : queue.messages())
        if (mq_send(fd, message.data().data(), message.data().size(), message.priority()) < 0)
            return base::fail_sys("send a message");
    if (fchown(fd, queue.uid(), queue.gid()) < 0 || fchmod(fd, queue.mode() & 07777) < 0)
        return base::fail_sys("owner and mode of a message queue");
    return {};
}

/// Its own name where nobody has that, so that /proc shows it again.
Result<OpenQueue> make_unlinked(const img::ext_mqueue &queue, const std::string &wanted) {
    std::string name = wanted;
    auto fd = create(queue, name);
    if (!fd && fd.error().code() == EEXIST) {
        name = fmt::format("/criu-{}-{}", getpid(), queue.inode());
        fd = create(queue, name);
    }
    OpenQueue made(TRY(std::move(fd)), std::move(name), true);
    TRY(fill(made.fd.get(), queue));
    return made;
}

/// A queue outlives the tasks that use it, and others may use it: one that is there is the one.
Result<OpenQueue> open_or_make(base::Log &log, const img::ext_mqueue &queue, const std::string &name) {
    base::UniqueFd fd(mq_open(name.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
    if (!fd && errno != ENOENT)
        return base::fail_sys(fmt::format("open the message queue {}", name));
    if (!fd) {
        OpenQueue made(TRY(create(queue, name)), name, true); // removed again on failure
        TRY(fill(made.fd.get(), queue));
        made.unlinked = false;
        return made;
    }
    mq_attr attributes{};
    if (mq_getattr(fd.get(), &attributes) < 0)
        return base::fail_sys("mq_getattr");
    if (static_cast<uint64_t>(attributes.mq_maxmsg) != queue.max_messages() ||
        static_cast<uint64_t>(attributes.mq_msgsize) != queue.message_size())
        return base::fail(base::Error(base::ErrorKind::Unsupported,
                                      fmt::format("the message queue {} has other sizes than at the checkpoint", name))
                              .hint("remove it: the restore makes it anew"));
    if (queue.has_messages() && attributes.mq_curmsgs != queue.messages_size())
        log.warn(fmt::format("the message queue {} holds {} messages now, {} at the checkpoint: it is left as it is",
                             name, attributes.mq_curmsgs, queue.messages_size()));
    return OpenQueue(std::move(fd), name, false);
}

} // namespace

bool is_message_queue(const OpenFile &file) {
    struct statfs fs {};
    return S_ISREG(file.stat.st_mode) && !(file.flags & O_PATH) && fstatfs(file.fd, &fs) == 0 &&
           fs.f_type == kMqueueMagic;
}

Result<void> dump_message_queue(FileDumpContext &context, const OpenFile &file, img::reg_file_entry &reg) {
    // Open for reading and writing, without waiting, whatever the task's own description is.
    base::UniqueFd queue(::open(fmt::format("/proc/self/fd/{}", file.fd).c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
    mq_attr attributes{};
    if (!queue || mq_getattr(queue.get(), &attributes) < 0)
        return base::fail_sys("open a message queue");
    reg.clear_size();
    img::ext_mqueue *entry = reg.mutable_extension()->mutable_mqueue();
    entry->set_max_messages(static_cast<uint64_t>(attributes.mq_maxmsg));
    entry->set_message_size(static_cast<uint64_t>(attributes.mq_msgsize));
    entry->set_unlinked(file.stat.st_nlink == 0);
    entry->set_uid(file.stat.st_uid);
    entry->set_gid(file.stat.st_gid);
    entry->set_mode(file.stat.st_mode);
    entry->set_inode(file.stat.st_ino);
    if (const uint32_t below = TRY(namespace_of_queue(context, file.stat.st_dev)))
        entry->set_namespace_(below);
    const bool first = context.states.of<DumpedQueues>().inodes.insert(file.stat.st_ino).second;
    if (TRY(has_notification(file.fd)))
        return dump_with_notification(context, file, first, *entry);
    return first ? read_messages(queue.get(), attributes, *entry) : Result<void>{};
}

bool is_dumped_queue(FileDumpContext &context, int queue) {
    struct stat st {};
    return fstat(queue, &st) == 0 && context.states.of<DumpedQueues>().inodes.contains(st.st_ino);
}

Result<base::UniqueFd> open_message_queue(FileOpenContext &context, const img::file_entry &entry) {
    const img::ext_mqueue &queue = entry.reg().extension().mqueue();
    TRY(check(queue));
    auto &known = context.states.of<OpenQueues>().by_inode;
    auto it = known.find(queue.inode());
    if (it == known.end()) {
        auto opened = queue.unlinked() ? make_unlinked(queue, entry.reg().name())
                                       : open_or_make(context.log, queue, entry.reg().name());
        it = known.emplace(queue.inode(), TRY(std::move(opened))).first;
        if (const auto space = context.namespaces.find(queue.namespace_()); space != context.namespaces.end())
            it->second.space.reset(fcntl(space->second.get(), F_DUPFD_CLOEXEC, 0));
    }
    const auto flags = static_cast<int>(entry.reg().flags() & (O_ACCMODE | O_NONBLOCK));
    base::UniqueFd fd(mq_open(it->second.name.c_str(), flags | O_CLOEXEC));
    if (!fd)
        return base::fail_sys(fmt::format("open the message queue {}", entry.reg().name()));
    return fd;
}

} // namespace resource
