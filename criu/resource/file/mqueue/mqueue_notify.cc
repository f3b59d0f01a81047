// The queue's own file tells owner, kind and signal of a registration, but not the value that the signal carries, nor
// where SIGEV_THREAD sends its cookie: a netlink socket in which a thread of libc waits. These are read in the kernel's
// memory (struct mqueue_inode_info), and so are the messages.
//
// Closing any descriptor of a queue ends the registration of the process that closes it. So the restored process
// registers when no descriptor of ours is left, but before its seccomp filters are back.
#include "criu/resource/file/mqueue/mqueue_notify.hh"

#include "criu/resource/file/hidden_state.hh"

#include <csignal>
#include <cstring>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace resource {
namespace {

using Address = uint64_t; ///< of the kernel

constexpr size_t kCookie = 32; ///< NOTIFY_COOKIE_LEN
constexpr size_t kPageSize = 4096, kMostWaiting = 65536, kMostPriorities = 32768, kMostBytes = 16u << 20;
constexpr int kKindThread = 2; ///< SIGEV_THREAD

struct Registration {
    int kind = 0, signal = 0, pid = 0;
};

/// "QSIZE:129 NOTIFY:2 SIGNO:0 NOTIFY_PID:8260"
Result<Registration> registration(int fd) {
    char text[256] = {};
    if (pread(fd, text, sizeof text - 1, 0) < 0)
        return base::fail_sys("read the state of a message queue");
    auto number = [&](const char *name) {
        const char *at = strstr(text, name);
        return at ? atoi(at + strlen(name)) : 0;
    };
    return Registration{number("NOTIFY:"), number("SIGNO:"), number("NOTIFY_PID:")};
}

std::unexpected<base::Error> changing() {
    return base::fail(base::ErrorKind::Unsupported,
                      "it changes while it is read: somebody outside of the tree uses it");
}

// ---- messages ------------------------------------------------------------------------------------------------------

/// A message lies behind its head, and what does not fit into that page behind the heads of further ones.
Result<std::string> message_data(const KernelMemory &memory, Address message) {
    std::string data(std::min<uint64_t>(TRY(memory.member(message, "msg_msg", "m_ts")), kMostBytes), '\0');
    auto rest = std::as_writable_bytes(std::span(data));
    size_t head = TRY(memory.size_of("msg_msg"));
    Address next = TRY(memory.member(message, "msg_msg", "next"));
    for (Address piece = message; !rest.empty();) {
        if (!piece)
            return changing();
        const size_t length = std::min(rest.size(), kPageSize - head);
        TRY(memory.read(piece + head, rest.first(length)));
        rest = rest.subspan(length);
        piece = next;
        head = TRY(memory.size_of("msg_msgseg"));
        next = piece ? TRY(memory.member(piece, "msg_msgseg", "next")) : 0;
    }
    return data;
}

/// All messages of one priority, oldest first.
Result<void> read_list(const KernelMemory &memory, Address list, img::ext_mqueue &entry) {
    for (Address at = TRY(memory.member(list, "list_head", "next")); at != list;
         at = TRY(memory.member(at, "list_head", "next"))) {
        if (entry.messages_size() == kMostWaiting)
            return changing();
        auto *message = entry.add_messages(); // its list_head is its first member
        message->set_priority(static_cast<uint32_t>(TRY(memory.member(at, "msg_msg", "m_type"))));
        message->set_data(TRY(message_data(memory, at)));
    }
    return {};
}

/// A binary tree by priority; the highest is received first.
Result<void> read_tree(const KernelMemory &memory, Address root, img::ext_mqueue &entry) {
    std::vector<Address> above;
    Address node = root;
    for (size_t seen = 0; node || !above.empty(); seen++) {
        if (seen > 2 * kMostPriorities)
            return changing();
        if (node) {
            above.push_back(node);
            node = TRY(memory.member(node, "rb_node", "rb_right"));
            continue;
        }
        const Address level = above.back();
        above.pop_back();
        TRY(read_list(memory, TRY(memory.address_of(level, "posix_msg_tree_node", "msg_list")), entry));
        node = TRY(memory.member(level, "rb_node", "rb_left"));
    }
    return {};
}

Result<void> read_messages(const KernelMemory &memory, Address queue, img::ext_mqueue &entry) {
    entry.set_has_messages(true);
    TRY(read_tree(memory, TRY(memory.member(queue, "mqueue_inode_info", "msg_tree.rb_node")), entry));
    if (TRY(memory.member(queue, "mqueue_inode_info", "attr.mq_curmsgs")) !=
        static_cast<uint64_t>(entry.messages_size()))
        return changing();
    return {};
}

// ---- registration --------------------------------------------------------------------------------------------------

Result<Address> queue_of(const KernelMemory &memory, int fd) {
    const Address inode = TRY(memory.member(TRY(memory.file(fd)), "file", "f_inode"));
    return inode - TRY(memory.address_of(0, "mqueue_inode_info", "vfs_inode"));
}

/// SIGEV_THREAD: which socket gets which cookie.
Result<void> read_thread(const KernelMemory &memory, Address queue, img::ext_mqueue_notify *notify) {
    auto field = [&](const char *name) { return memory.member(queue, "mqueue_inode_info", name); };
    const Address outer = TRY(memory.member(TRY(field("notify_sock")), "sock", "sk_socket")),
                  inode = TRY(memory.address_of(outer, "socket_alloc", "vfs_inode")),
                  cookie = TRY(memory.member(TRY(field("notify_cookie")), "sk_buff", "data"));
    notify->set_socket(static_cast<uint32_t>(TRY(memory.member(inode, "inode", "i_ino"))));
    std::string bytes(kCookie, '\0');
    TRY(memory.read(cookie, std::as_writable_bytes(std::span(bytes))));
    notify->set_cookie(bytes);
    return {};
}

Result<void> read_registration(const KernelMemory &memory, Address queue, const Registration &found,
                               img::ext_mqueue_notify *notify) {
    notify->set_kind(static_cast<uint32_t>(found.kind));
    notify->set_signal(static_cast<uint32_t>(found.signal));
    if (found.kind == SIGEV_SIGNAL)
        notify->set_value(TRY(memory.member(queue, "mqueue_inode_info", "notify.sigev_value")));
    return found.kind == kKindThread ? read_thread(memory, queue, notify) : Result<void>{};
}

// ---- restore -------------------------------------------------------------------------------------------------------

Result<int> number_of_socket(const ImageFiles &files, const std::vector<img::fdinfo_entry> &table, uint32_t inode) {
    for (const img::fdinfo_entry &entry : table) {
        auto file = files.find(entry.id());
        if (file != files.end() && file->second.has_nlsk() && file->second.nlsk().ino() == inode)
            return static_cast<int>(entry.fd());
    }
    return base::unsupported("the socket of a message queue's notification (SIGEV_THREAD) is not open in its process");
}

Result<sigevent> event_of(plan::ThreadPlan &plan, const ImageFiles &files, const std::vector<img::fdinfo_entry> &table,
                          const img::ext_mqueue_notify &notify) {
    sigevent event{};
    event.sigev_notify = static_cast<int>(notify.kind());
    event.sigev_signo = static_cast<int>(notify.signal());
    auto value = static_cast<uintptr_t>(notify.value());
    if (event.sigev_notify == kKindThread) {
        if (notify.cookie().size() != kCookie)
            return base::bad_image("files.img: the cookie of a message queue's notification has another size");
        event.sigev_signo = TRY(number_of_socket(files, table, notify.socket()));
        value = plan.data().add(std::as_bytes(std::span(notify.cookie())));
    }
    memcpy(&event.sigev_value, &value, sizeof value);
    return event;
}

} // namespace

Result<bool> has_notification(int queue) {
    return TRY(registration(queue)).pid != 0;
}

Result<void> dump_with_notification(FileDumpContext &context, const OpenFile &file, bool with_messages,
                                    img::ext_mqueue &entry) {
    const Registration found = TRY(registration(file.fd));
    auto done = [&] -> Result<void> {
        const KernelMemory &memory = *TRY(kernel_memory(context));
        const Address queue = TRY(queue_of(memory, file.fd));
        const bool ours = std::ranges::any_of(context.tasks,
                                              [&](const tree::TaskFacts &task) { return task.pid.value == found.pid; });
        if (ours) {
            TRY(read_registration(memory, queue, found, entry.mutable_notify()));
            entry.mutable_notify()->set_pid(static_cast<uint32_t>(context.pids.inside(base::Pid(found.pid)).value));
        }
        return with_messages ? read_messages(memory, queue, entry) : Result<void>{};
    }();
    if (!done)
        return base::fail(
            std::move(done.error()
                          .ctx("a message queue with a registered notification (mq_notify) cannot be read")
                          .hint("unregister it around the checkpoint")));
    return {};
}

Result<void> plan_notifications(plan::ThreadPlan &plan, const ImageFiles &files,
                                const std::vector<img::fdinfo_entry> &table, uint32_t pid) {
    std::set<uint64_t> done;
    for (const img::fdinfo_entry &entry : table) {
        auto file = files.find(entry.id());
        if (file == files.end() || !file->second.reg().extension().mqueue().has_notify())
            continue;
        const img::ext_mqueue &queue = file->second.reg().extension().mqueue();
        if (queue.notify().pid() != pid || !done.insert(queue.inode()).second)
            continue;
        const sigevent event = TRY(event_of(plan, files, table, queue.notify()));
        plan.call(plan::Stage::Filters, "mq_notify", SYS_mq_notify, {entry.fd(), plan.data().add_value(event)});
    }
    return {};
}

} // namespace resource
