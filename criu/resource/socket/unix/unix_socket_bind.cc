// Names of unix sockets.
//
// A name is what was passed to bind(2), and bind creates a file of that name. Sockets whose file was removed since, and
// the listeners of connections that outlived them, need the name without the file: they are bound by a process whose
// root directory is a file system of its own, which is not mounted anywhere.
#include "criu/resource/socket/unix/unix_restore.hh"

#include <climits>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/mount.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SIOCUNIXFILE
#define SIOCUNIXFILE (SIOCPROTOPRIVATE + 0)
#endif

namespace resource {
namespace {

std::unexpected<base::Error> bind_failed(const std::string &name) {
    auto error = base::Error::sys(fmt::format("bind a unix socket to {}", show_unix_name(name)));
    if (errno == EADDRINUSE)
        error = base::Error(base::ErrorKind::Busy,
                            fmt::format("the unix socket name {} is in use by another process", show_unix_name(name)))
                    .hint("end the process that listens there, or restore in a network namespace of its own");
    if (errno == ENOENT)
        error.hint("the directory was there at the checkpoint: create it");
    return base::fail(std::move(error));
}

Result<void> bind_to(int fd, const std::string &name) {
    const UnixAddress address = TRY(unix_address(name));
    if (bind(fd, address.get(), address.length) < 0)
        return bind_failed(name);
    return {};
}

// ---- names that nobody else shall see ------------------------------------------------------------------------------

Result<void> enter_private_root() {
    base::UniqueFd filesystem(static_cast<int>(syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC)));
    constexpr unsigned kCreate = 6; // FSCONFIG_CMD_CREATE
    if (!filesystem || syscall(SYS_fsconfig, filesystem.get(), kCreate, nullptr, nullptr, 0) < 0)
        return base::fail_sys("create a tmpfs for names of unix sockets");
    base::UniqueFd mount(static_cast<int>(syscall(SYS_fsmount, filesystem.get(), FSMOUNT_CLOEXEC, 0)));
    if (!mount || fchdir(mount.get()) < 0 || chroot(".") < 0)
        return base::fail_sys("enter a tmpfs for names of unix sockets");
    return {};
}

Result<void> bind_unseen(int fd, const std::string &name) {
    const std::string path(unix_path(name));
    for (size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1))
        mkdir(path.substr(0, slash).c_str(), 0777);
    TRY(bind_to(fd, name));
    unlink(path.c_str()); // another may have had the same name
    return {};
}

// ---- names in the file system --------------------------------------------------------------------------------------

/// Whether a socket file is there to which nobody is bound any more: what a program leaves when it is killed.
/// Errors: Busy if somebody is, or if it is something else.
Result<bool> is_stale(const std::string &path) {
    struct stat st {};
    if (lstat(path.c_str(), &st) < 0)
        return false;
    if (!S_ISSOCK(st.st_mode))
        return base::fail(base::ErrorKind::Busy,
                          fmt::format("{} is in the way of a unix socket: it is not a socket", path));
    // Connecting datagrams leaves no trace with the other side, and says whether there is one, even of another type.
    base::UniqueFd probe(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    base::UniqueFd file(open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    const UnixAddress address = TRY(unix_address(fmt::format("/proc/self/fd/{}", file.get())));
    if (connect(probe.get(), address.get(), address.length) == 0 || errno != ECONNREFUSED)
        return base::fail(
            base::Error(base::ErrorKind::Busy, fmt::format("the unix socket {} is in use by another process", path))
                .hint("end the process that listens there"));
    return true;
}

std::string place_of(const BindJob &job) {
    const std::string path(unix_path(job.name));
    const img::ext_unix_sk &ext = job.entry->ext();
    if (path[0] == '/')
        return ext.root() + path;
    return (job.entry->name_dir().empty() ? "." : job.entry->name_dir()) + "/" + path;
}

Result<void> bind_in_place(UnixRestoreState &state, const BindJob &job) {
    if (state.go_to)
        TRY(state.go_to(job.entry->id()));
    const std::string place = place_of(job), &moved = job.entry->ext().path();
    const UnixAddress address = TRY(unix_address(job.name));
    const bool stale = TRY(is_stale(place));
    if (!moved.empty() && !TRY(is_stale(moved)))
        state.new_files.push_back(moved);
    if (!job.entry->ext().root().empty() && chroot(job.entry->ext().root().c_str()) < 0)
        return base::fail_sys(fmt::format("change the root to {}", job.entry->ext().root()));
    if (job.name[0] != '/' && chdir(job.entry->name_dir().c_str()) < 0)
        return base::fail(std::move(base::Error::sys(fmt::format("change to {}", job.entry->name_dir()))
                                        .hint("a unix socket was bound there: create the directory")));
    // Nothing may come in between: a name that was there stays there.
    const std::string name(unix_path(job.name));
    if (stale && unlink(name.c_str()) < 0)
        return base::fail_sys(fmt::format("remove the old socket {}", place));
    if (bind(job.fd, address.get(), address.length) < 0)
        return bind_failed(job.name);
    if (!moved.empty() && rename(name.c_str(), moved.c_str()) < 0) {
        base::Error error = base::Error::sys(fmt::format("move the socket {} to {}", place, moved));
        unlink(name.c_str());
        return base::fail(std::move(error));
    }
    if (moved.empty() && !stale)
        state.new_files.push_back(place);
    return {};
}

bool is_unseen(const BindJob &job) {
    return !job.entry || (job.entry->deleted() && job.entry->ext().path().empty());
}

bool changes_root(const BindJob &job) {
    return job.entry && !job.entry->ext().root().empty();
}

/// In a process of its own, which may change its directories.
Result<void> bind_apart(UnixRestoreState &state, const std::vector<const BindJob *> &jobs) {
    base::Log quiet;
    Identity somebody = own_identity();
    somebody.pid = 0;
    return run_as(quiet, somebody, [&]() -> Result<void> {
        umask(0);
        if (!is_unseen(*jobs.front()))
            return bind_in_place(state, *jobs.front());
        TRY(enter_private_root());
        for (const BindJob *job : jobs)
            TRY(bind_unseen(job->fd, job->name));
        return {};
    });
}

Result<void> bind_here(UnixRestoreState &state, const std::vector<const BindJob *> &jobs) {
    base::UniqueFd back(open(".", O_PATH | O_DIRECTORY | O_CLOEXEC));
    const mode_t mask = umask(0);
    Result<void> outcome;
    for (const BindJob *job : jobs)
        if (outcome = bind_in_place(state, *job); !outcome)
            break;
    umask(mask);
    if (outcome && state.go_to)
        outcome = state.go_to(0);
    if (back && fchdir(back.get()) < 0)
        return base::fail_sys("change back to our directory");
    return outcome;
}

} // namespace

Result<void> bind_unix_sockets(UnixRestoreState &state, const std::vector<BindJob> &jobs) {
    std::vector<const BindJob *> unseen, here;
    for (const BindJob &job : jobs) {
        if (!is_path(job.name))
            TRY(bind_to(job.fd, job.name));
        else if (is_unseen(job))
            unseen.push_back(&job);
        else if (changes_root(job))
            TRY(bind_apart(state, {&job}));
        else
            here.push_back(&job);
    }
    if (!unseen.empty())
        TRY(bind_apart(state, unseen));
    return bind_here(state, here);
}

Result<void> restore_unix_file_modes(const UnixRestoreState &state) {
    for (auto &[inode, node] : state.nodes) {
        if (!node.bound || !node.entry->has_file_perms() || !is_path(node.entry->name()))
            continue;
        base::UniqueFd file(ioctl(node.fd(), SIOCUNIXFILE));
        if (!file)
            continue;
        const img::file_perms_entry &perms = node.entry->file_perms();
        const std::string path = fmt::format("/proc/self/fd/{}", file.get());
        // The owner first: changing it takes set-id bits away.
        if (chown(path.c_str(), perms.uid(), perms.gid()) < 0 || chmod(path.c_str(), perms.mode() & 07777) < 0)
            return base::fail_sys(fmt::format("set mode and owner of {}", show_unix_name(node.entry->name())));
    }
    return {};
}

Result<UnixTarget> UnixTarget::of(int fd) {
    UnixTarget target;
    target.file_.reset(ioctl(fd, SIOCUNIXFILE));
    if (target.file_) {
        target.address_ = TRY(unix_address(fmt::format("/proc/self/fd/{}", target.file_.get())));
        return target;
    }
    target.address_.length = sizeof target.address_.address;
    if (getsockname(fd, target.address_.get(), &target.address_.length) < 0)
        return base::fail_sys("getsockname");
    return target;
}

Result<void> UnixTarget::connect(int fd) const {
    if (::connect(fd, address_.get(), address_.length) < 0)
        return base::fail_sys(
            fmt::format("connect a unix socket to its peer ({})", show_unix_name(unix_name(address_))));
    return {};
}

} // namespace resource
