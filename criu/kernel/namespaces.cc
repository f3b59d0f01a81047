#include "criu/kernel/namespaces.hh"

#include "criu/kernel/child.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

namespace kernel {
namespace {

struct Names {
    const char *name;
    uint64_t flag;
};

// In the order of the enumeration. CLONE_NEWTIME is missing in this libc.
constexpr std::array<Names, tree::kAllNamespaceKinds.size()> kNames = {{{"pid", CLONE_NEWPID},
                                                                        {"net", CLONE_NEWNET},
                                                                        {"ipc", CLONE_NEWIPC},
                                                                        {"uts", CLONE_NEWUTS},
                                                                        {"time", 0x80},
                                                                        {"mnt", CLONE_NEWNS},
                                                                        {"user", CLONE_NEWUSER},
                                                                        {"cgroup", CLONE_NEWCGROUP}}};

uint64_t inode_at(int dir, const char *name) {
    struct stat st {};
    return fstatat(dir, name, &st, 0) == 0 ? st.st_ino : 0;
}

/// Whether the calling thread lives in this namespace. Nobody may enter one that belongs to a user namespace around his
/// own, and who is there need not.
bool is_here(int ns) {
    constexpr unsigned long kGetType = 0xb703; // NS_GET_NSTYPE
    const int flag = ioctl(ns, kGetType);
    const auto found = std::ranges::find(kNames, static_cast<uint64_t>(flag), &Names::flag);
    struct stat st {};
    return flag > 0 && found != kNames.end() && fstat(ns, &st) == 0 &&
           inode_at(AT_FDCWD, fmt::format("/proc/thread-self/ns/{}", found->name).c_str()) == st.st_ino;
}

} // namespace

const char *name_of(tree::NamespaceKind kind) {
    return kNames[static_cast<size_t>(kind)].name;
}

uint64_t clone_flag_of(tree::NamespaceKind kind) {
    return kNames[static_cast<size_t>(kind)].flag;
}

Result<tree::NamespaceInodes> namespaces_of(base::Pid pid) {
    const base::UniqueFd dir =
        TRY(open_at(AT_FDCWD, fmt::format("/proc/{}/ns", pid.value).c_str(), O_PATH | O_DIRECTORY));
    tree::NamespaceInodes found;
    for (tree::NamespaceKind kind : tree::kAllNamespaceKinds)
        found[kind] = inode_at(dir.get(), name_of(kind));
    found.pid_for_children = inode_at(dir.get(), "pid_for_children");
    found.time_for_children = inode_at(dir.get(), "time_for_children");
    return found;
}

uint64_t pid_namespace_of_children(base::Pid tid) {
    return inode_at(AT_FDCWD, fmt::format("/proc/{}/ns/pid_for_children", tid.value).c_str());
}

Result<base::UniqueFd> open_namespace(base::Pid member, tree::NamespaceKind kind) {
    return open_at(AT_FDCWD, fmt::format("/proc/{}/ns/{}", member.value, name_of(kind)).c_str(), O_RDONLY);
}

Result<base::UniqueFd> open_namespace(const tree::Namespace &ns) {
    auto fd = open_namespace(ns.member, ns.kind);
    struct stat st {};
    if (ns.kind != tree::NamespaceKind::Time || !fd || fstat(fd->get(), &st) < 0 || st.st_ino == ns.inode)
        return fd;
    return open_at(AT_FDCWD, fmt::format("/proc/{}/ns/time_for_children", ns.member.value).c_str(), O_RDONLY);
}

Result<void> raise_capabilities() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct sets[2]{};
    if (syscall(SYS_capget, &header, sets) < 0)
        return base::fail_sys("capget");
    for (auto &set : sets)
        set.effective = set.permitted;
    return syscall(SYS_capset, &header, sets) < 0 ? base::fail_sys("capset") : Result<void>{};
}

Result<void> inside(std::span<const int> join, const std::function<Result<void>()> &body) {
    Result<void> outcome;
    std::thread visitor([&] {
        outcome = base::guarded([&]() -> Result<void> {
            // Who shares its root and working directory with others may not change mount namespaces.
            if (unshare(CLONE_FS) < 0)
                return base::fail_sys("unshare(CLONE_FS)");
            for (int fd : join)
                if (!is_here(fd) && setns(fd, 0) < 0)
                    return base::fail_sys("setns");
            return body();
        });
    });
    visitor.join();
    return outcome;
}

Result<void> inside_pids(base::Pid member, const std::function<Result<void>()> &body) {
    const auto away = TRY(open_namespace(member, tree::NamespaceKind::Pid));
    const auto home = TRY(open_at(AT_FDCWD, "/proc/thread-self/ns/pid", O_RDONLY));
    if (setns(away.get(), CLONE_NEWPID) < 0)
        return base::fail_sys("go to the pid namespace of the tree");
    auto outcome = run_to_end(body);
    if (setns(home.get(), CLONE_NEWPID) < 0)
        return base::fail_sys("come back from the pid namespace of the tree");
    return outcome;
}

Result<NetworkVisit> NetworkVisit::enter(base::Pid member) {
    auto home = TRY(open_at(AT_FDCWD, "/proc/thread-self/ns/net", O_RDONLY));
    auto away = TRY(open_namespace(member, tree::NamespaceKind::Net));
    if (setns(away.get(), CLONE_NEWNET) < 0)
        return base::fail(std::move(
            base::Error::sys("enter the network namespace of the tree").hint("that needs CAP_SYS_ADMIN in both")));
    return NetworkVisit(std::move(home), std::move(away));
}

void NetworkVisit::go(const base::UniqueFd &where) {
    if (where)
        (void)setns(where.get(), CLONE_NEWNET); // it worked once, and nothing has changed
}

NetworkVisit::~NetworkVisit() {
    go(home_);
}

} // namespace kernel
