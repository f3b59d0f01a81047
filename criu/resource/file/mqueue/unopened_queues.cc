// POSIX message queues that nobody has open: they live as long as their ipc namespace. Those that somebody has open are
// dumped with the descriptor. The kernel lists them in a file system; the namespace's own may be mounted nowhere.
#include "criu/resource/file/mqueue/message_queue.hh"

#include "base/listing.hh"
#include "criu/kernel/namespaces.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace resource {
namespace {

/// In a thread that is inside of the namespace. Nothing where the kernel has no such queues.
base::UniqueFd mount_queues() {
    const base::UniqueFd context(fsopen("mqueue", FSOPEN_CLOEXEC));
    if (!context || fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0)
        return {};
    return base::UniqueFd(fsmount(context.get(), FSMOUNT_CLOEXEC, 0));
}

/// The file system of the queues of each ipc namespace of the tree's own.
struct QueueFileSystems {
    struct One {
        uint32_t below = 0; ///< number of the namespace, 0 for the root task's
        base::UniqueFd directory;
        dev_t device = 0;
    };
    bool are_known = false;
    std::vector<One> all;
};

Result<void> find_file_system(QueueFileSystems &known, const tree::Namespace &ipc, bool of_root) {
    const base::UniqueFd ns = TRY(kernel::open_namespace(ipc.member, ipc.kind));
    QueueFileSystems::One one{.below = of_root ? 0 : ipc.id, .directory = {}};
    TRY(kernel::inside(std::array{ns.get()}, [&]() -> Result<void> {
        one.directory = mount_queues();
        return {};
    }));
    struct stat st {};
    if (!one.directory || fstat(one.directory.get(), &st) < 0)
        return {};
    one.device = st.st_dev;
    known.all.push_back(std::move(one));
    return {};
}

Result<const QueueFileSystems *> file_systems(FileDumpContext &context) {
    auto &known = context.states.of<QueueFileSystems>();
    if (known.are_known)
        return &known;
    known.are_known = true;
    const uint32_t root = context.namespaces.root_id(tree::NamespaceKind::Ipc);
    for (const tree::Namespace &ns : context.namespaces.all())
        if (ns.kind == tree::NamespaceKind::Ipc && ns.origin == tree::NamespaceOrigin::Ours)
            TRY(find_file_system(known, ns, ns.id == root));
    return &known;
}

} // namespace

Result<uint32_t> namespace_of_queue(FileDumpContext &context, dev_t device) {
    for (const QueueFileSystems::One &one : TRY(file_systems(context))->all)
        if (one.device == device)
            return one.below;
    return 0;
}

Result<void> dump_unopened_queues(FileDumpContext &context) {
    for (const QueueFileSystems::One &one : TRY(file_systems(context))->all)
        for (const std::string &name : TRY(base::list_names(one.directory.get(), DT_REG))) {
            base::UniqueFd queue(openat(one.directory.get(), name.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
            if (!queue)
                return base::fail_sys(fmt::format("open the message queue /{}", name));
            if (!is_dumped_queue(context, queue.get()))
                TRY_CTX(context.dump_passed(std::move(queue)), fmt::format("the message queue /{}", name));
        }
    return {};
}

} // namespace resource
