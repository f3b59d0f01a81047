// Probes that read /proc and /sys.

#include "criu/engine/check/probes.hh"

#include "base/unique_fd.hh"
#include "criu/kernel/child.hh"
#include "criu/kernel/features.hh"
#include "criu/kernel/io.hh"
#include "criu/kernel/proc_dir.hh"
#include "criu/parse/fdinfo.hh"
#include "criu/parse/maps.hh"
#include "criu/parse/stat.hh"
#include "criu/parse/status.hh"

#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace check {

namespace {

using base::UniqueFd;

std::unexpected<base::Error> missing(std::string what) {
    return base::unsupported(std::move(what));
}

Result<parse::FdInfo> fdinfo(int fd) {
    std::string text = TRY(kernel::read_file(AT_FDCWD, fmt::format("/proc/self/fdinfo/{}", fd).c_str()));
    return parse::parse_fdinfo(text);
}

Result<void> exists(const char *path, int mode = F_OK) {
    if (faccessat(AT_FDCWD, path, mode, AT_EACCESS) != 0)
        return base::fail_sys(path);
    return {};
}

} // namespace

Result<void> map_files() {
    auto self = TRY(kernel::ProcDir::open(base::Pid(getpid())));
    std::string text = TRY(self.read_file("maps"));
    for (const parse::Vma &vma : TRY(parse::parse_maps(text)))
        if (vma.inode != 0) {
            // Opening, not only reading the link, is what dumps of deleted files need.
            TRY(self.open_file(fmt::format("map_files/{:x}-{:x}", vma.start, vma.end).c_str(), O_PATH));
            return {};
        }
    return missing("no mapped file to try");
}

Result<void> proc_stat() {
    std::string text = TRY(kernel::read_file(AT_FDCWD, "/proc/self/stat"));
    auto stat = TRY(parse::parse_stat(text));
    if (stat.pid != getpid() || stat.arg_start == 0)
        return missing("addresses in /proc/self/stat");
    return {};
}

Result<void> fdinfo_extended() {
    UniqueFd event(eventfd(5, EFD_CLOEXEC)), epoll(epoll_create1(EPOLL_CLOEXEC)), watch(inotify_init1(IN_CLOEXEC));
    sigset_t mask;
    sigemptyset(&mask);
    UniqueFd signals(signalfd(-1, &mask, SFD_CLOEXEC));
    epoll_event interest{.events = EPOLLIN, .data = {.u64 = 7}};
    if (!event || !signals || epoll_ctl(epoll.get(), EPOLL_CTL_ADD, event.get(), &interest) != 0 ||
        inotify_add_watch(watch.get(), "/", IN_CREATE) < 0)
        return base::fail_sys("event descriptors");
    if (!TRY(fdinfo(event.get())).eventfd || TRY(fdinfo(epoll.get())).epoll.size() != 1 ||
        !TRY(fdinfo(signals.get())).sigmask || TRY(fdinfo(watch.get())).inotify.size() != 1)
        return missing("details of event descriptors in fdinfo");
    return {};
}

Result<void> fdinfo_mnt_id() {
    UniqueFd fd = TRY(kernel::open_at(AT_FDCWD, "/", O_RDONLY | O_DIRECTORY));
    return TRY(fdinfo(fd.get())).mnt_id >= 0 ? Result<void>() : missing("mnt_id in fdinfo");
}

Result<void> fdinfo_lock() {
    UniqueFd fd(memfd_create("lock", MFD_CLOEXEC));
    if (!fd || flock(fd.get(), LOCK_EX) != 0)
        return base::fail_sys("flock");
    return TRY(fdinfo(fd.get())).locks.size() == 1 ? Result<void>() : missing("locks in fdinfo");
}

Result<void> timerfd_fdinfo() {
    UniqueFd fd(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    if (!fd)
        return base::fail_sys("timerfd_create");
    return TRY(fdinfo(fd.get())).timerfd ? Result<void>() : missing("times in fdinfo of timers");
}

Result<void> ns_pid_in_status() {
    std::string text = TRY(kernel::read_file(AT_FDCWD, "/proc/self/status"));
    return TRY(parse::parse_status(text)).ns_pid.empty() ? missing("NSpid in /proc/PID/status") : Result<void>();
}

Result<void> ipc_next_ids() {
    for (const char *path :
         {"/proc/sys/kernel/sem_next_id", "/proc/sys/kernel/msg_next_id", "/proc/sys/kernel/shm_next_id"})
        TRY(exists(path));
    return {};
}

Result<void> pid_choice() {
    if (kernel::probe_feature(kernel::Feature::Clone3SetTid))
        return {};
    return exists("/proc/sys/kernel/ns_last_pid", W_OK);
}

Result<void> loginuid() {
    // In a child, since the value is the task's own.
    return kernel::in_child("/proc/self/loginuid", [] {
        auto before = kernel::read_file(AT_FDCWD, "/proc/self/loginuid");
        if (!before)
            return before.error().code();
        auto cleared = kernel::write_file(AT_FDCWD, "/proc/self/loginuid", "4294967295");
        if (!cleared)
            return cleared.error().code();
        auto back = kernel::write_file(AT_FDCWD, "/proc/self/loginuid", *before);
        return back ? 0 : back.error().code();
    });
}

Result<void> user_namespace() {
    return exists("/proc/self/ns/user");
}
Result<void> cgroup_namespace() {
    return exists("/proc/self/ns/cgroup");
}

Result<void> autofs() {
    std::string types = TRY(kernel::read_file(AT_FDCWD, "/proc/filesystems"));
    return types.find("\tautofs\n") != std::string::npos ? Result<void>() : missing("file system autofs");
}

Result<void> apparmor_stacking() {
    std::string text = TRY(kernel::read_file(AT_FDCWD, "/sys/kernel/security/apparmor/features/domain/stack"));
    return text.starts_with("yes") ? Result<void>() : missing("stacking in AppArmor");
}

namespace {

/// Mounts an overlay on `dir` (an empty folder) in a mount namespace of the child's own, maps a file of it and compares
/// the device that /proc/self/maps shows with that of stat(2). Returns an errno.
int compare_overlay_device(const std::string &dir) {
    auto sub = [&](const char *name) { return dir + name; };
    if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("probe", dir.c_str(), "tmpfs", 0, nullptr) != 0)
        return errno;
    for (const char *name : {"/lower", "/upper", "/work", "/merged"})
        if (mkdir(sub(name).c_str(), 0700) != 0)
            return errno;
    std::string options = fmt::format("lowerdir={0}/lower,upperdir={0}/upper,workdir={0}/work", dir);
    if (mount("overlay", sub("/merged").c_str(), "overlay", 0, options.c_str()) != 0)
        return errno;
    UniqueFd file(open(sub("/merged/file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    struct stat st {};
    if (!file || ftruncate(file.get(), 4096) != 0 || fstat(file.get(), &st) != 0)
        return errno;
    void *at = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, file.get(), 0);
    auto text = kernel::read_file(AT_FDCWD, "/proc/self/maps");
    if (at == MAP_FAILED || !text)
        return EIO;
    auto vmas = parse::parse_maps(*text);
    if (!vmas)
        return EIO;
    for (const parse::Vma &vma : *vmas)
        if (vma.start == reinterpret_cast<uint64_t>(at))
            return makedev(vma.dev_major, vma.dev_minor) == st.st_dev && vma.inode == st.st_ino ? 0 : EXDEV;
    return EIO;
}

} // namespace

Result<void> overlayfs_maps() {
    std::string dir = (std::filesystem::temp_directory_path() / "criu-check-XXXXXX").string();
    if (!mkdtemp(dir.data()))
        return base::fail_sys("mkdtemp");
    pid_t pid = fork();
    if (pid < 0) {
        rmdir(dir.c_str());
        return base::fail_sys("fork");
    }
    if (pid == 0)
        _exit(compare_overlay_device(dir));
    auto code = kernel::exit_code(pid);
    rmdir(dir.c_str());
    if (!code)
        return base::fail(std::move(code).error());
    if (*code != 0)
        return base::fail_sys(*code, "maps of files on overlayfs");
    return {};
}

} // namespace check
