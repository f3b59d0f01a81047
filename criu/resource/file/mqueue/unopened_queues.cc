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

} // namespace

Result<void> dump_unopened_queues(FileDumpContext &context) {
    const tree::Namespace *ipc = context.namespaces.of_root(tree::NamespaceKind::Ipc);
    if (!ipc || ipc->origin != tree::NamespaceOrigin::Ours)
        return {};
    const base::UniqueFd ns = TRY(kernel::open_namespace(ipc->member, ipc->kind));
    base::UniqueFd directory;
    TRY(kernel::inside(std::array{ns.get()}, [&]() -> Result<void> {
        directory = mount_queues();
        return {};
    }));
    if (!directory)
        return {};
    for (const std::string &name : TRY(base::list_names(directory.get(), DT_REG))) {
        base::UniqueFd queue(openat(directory.get(), name.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
        if (!queue)
            return base::fail_sys(fmt::format("open the message queue /{}", name));
        if (!is_dumped_queue(context, queue.get()))
            TRY_CTX(context.dump_passed(std::move(queue)), fmt::format("the message queue /{}", name));
    }
    return {};
}

} // namespace resource
