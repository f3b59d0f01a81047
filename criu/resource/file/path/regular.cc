// Regular files, directories, devices without state, and O_PATH descriptors of anything: what a path leads to.
//
// The contents are not ours: the same file must be there on restore. What can be checked cheaply is: size and mode, and
// for programs and libraries the build id.
#include "criu/kernel/mount_of.hh"
#include "criu/parse/elf.hh"
#include "criu/resource/file/external.hh"
#include "criu/resource/file/file.hh"
#include "criu/resource/file/mqueue/message_queue.hh"
#include "criu/resource/file/path/ghosts.hh"
#include "criu/resource/file/path/proc_file.hh"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace resource::regular {
namespace {

constexpr std::string_view kDeleted = " (deleted)";
// Where CRIU looks for it, and where it mostly is.
constexpr size_t kBuildIdPrefix = 1u << 20, kUsualBuildIdPrefix = 4096;

// /dev/{mem,kmem,null,port,zero,full,random,urandom,kmsg}: major 1.
bool is_plain_device(const struct stat &st) {
    if (!S_ISCHR(st.st_mode))
        return false;
    constexpr unsigned kMemMajor = 1, kNull = 3, kZero = 5, kFull = 7, kRandom = 8, kUrandom = 9, kKmsg = 11;
    unsigned minor_number = minor(st.st_rdev);
    return major(st.st_rdev) == kMemMajor &&
           (minor_number == kNull || minor_number == kZero || minor_number == kFull || minor_number == kRandom ||
            minor_number == kUrandom || minor_number == kKmsg);
}

bool matches(const OpenFile &file) {
    if (file.flags & O_PATH)
        return file.link.starts_with('/');
    return file.link.starts_with('/') &&
           (S_ISREG(file.stat.st_mode) || S_ISDIR(file.stat.st_mode) || is_plain_device(file.stat)) &&
           !file.link.starts_with("/memfd:");
}

/// Whether the path still leads to this very file.
bool is_there(const std::string &path, const struct stat &st) {
    struct stat now {};
    return lstat(path.c_str(), &now) == 0 && now.st_dev == st.st_dev && now.st_ino == st.st_ino;
}

/// What we may not look at is not gone.
Result<void> check_reachable(const std::string &path) {
    struct stat st {};
    if (lstat(path.c_str(), &st) == 0 || errno != EACCES)
        return {};
    return base::fail(std::move(base::Error::sys(fmt::format("look for {}", path))
                                    .hint("a directory on the way is closed to us: CAP_DAC_READ_SEARCH opens it, here "
                                          "and for the restore")));
}

/// Without the kernel's " (deleted)", unless that is really how the file is called.
std::string path_of(const FileDumpContext &context, const OpenFile &file) {
    std::string path = file.link;
    if (path.ends_with(kDeleted) && !is_there(context.mounts.path(path), file.stat))
        path.resize(path.size() - kDeleted.size());
    return path;
}

/// The caller's /dev/null does what the tree's does.
bool is_same_device(const std::string &path, const struct stat &st) {
    struct stat now {};
    return S_ISCHR(st.st_mode) && stat(path.c_str(), &now) == 0 && S_ISCHR(now.st_mode) && now.st_rdev == st.st_rdev;
}

/// The mount that it was opened through: one of the tree's own; -1, as the image has it, for a device that is the same
/// on any.
Result<int32_t> mount_of(const FileDumpContext &context, const OpenFile &file) {
    const uint32_t id = TRY(kernel::mount_of(file.fd));
    const bool is_found_by_name = is_message_queue(file); // the kernel's own mount of its ipc namespace
    if (!context.mounts.ids.contains(id) && !is_found_by_name &&
        !is_same_device(context.mounts.path(file.link), file.stat))
        return base::fail(
            base::Error(base::ErrorKind::Unsupported,
                        fmt::format("it was opened on a mount ({}) that is not one of the tree's", id))
                .hint(fmt::format("--external 'file[{}]' leaves it to the caller, who gives it back with --inherit-fd",
                                  external_file_key(file))));
    return context.mounts.ids.contains(id) ? static_cast<int32_t>(id) : -1;
}

std::vector<uint8_t> build_id_of(int fd) {
    std::string prefix;
    std::vector<uint8_t> id;
    for (size_t size : {kUsualBuildIdPrefix, kBuildIdPrefix}) {
        prefix.resize(size);
        const ssize_t n = pread(fd, prefix.data(), size, 0);
        prefix.resize(n > 0 ? static_cast<size_t>(n) : 0);
        id = parse::parse_build_id(prefix);
        if (!id.empty() || prefix.size() < size)
            break;
    }
    return id;
}

// The image keeps it as 32-bit words in the byte order of the machine, zero-padded.
void write_build_id(const std::vector<uint8_t> &id, img::reg_file_entry *entry) {
    for (size_t i = 0; i < id.size(); i += 4) {
        uint32_t word = 0;
        for (size_t j = i; j < i + 4 && j < id.size(); j++)
            word |= uint32_t{id[j]} << (8 * (j - i));
        entry->add_build_id(word);
    }
}

/// Others may go on writing to it: CRIU does not note its size either.
bool is_log(uint32_t flags) {
    return (flags & O_APPEND) && (flags & O_ACCMODE) == O_WRONLY;
}

Result<void> dump(FileDumpContext &context, const OpenFile &file, img::file_entry &entry) {
    img::reg_file_entry *reg = entry.mutable_reg();
    reg->set_id(file.id.value);
    reg->set_flags(file.flags & ~static_cast<uint32_t>(O_CLOEXEC));
    off_t pos = S_ISREG(file.stat.st_mode) || S_ISDIR(file.stat.st_mode) ? lseek(file.fd, 0, SEEK_CUR) : 0;
    reg->set_pos(pos > 0 ? static_cast<uint64_t>(pos) : 0);
    TRY(dump_owner(context, file, reg->mutable_fown()));
    std::string path = path_of(context, file);
    reg->set_name(path);
    reg->set_mode(file.stat.st_mode);
    if (S_ISREG(file.stat.st_mode) && !is_log(file.flags))
        reg->set_size(static_cast<uint64_t>(file.stat.st_size));
    if (const std::string key = context.options.externals.empty() ? "" : external_file_key(file);
        is_external(context.options, "file", key)) {
        reg->set_ext(true);
        reg->set_name(fmt::format("file[{}]", key));
        return {};
    }
    if (context.mounts.own())
        reg->set_mnt_id(TRY(mount_of(context, file)));
    if (is_proc_file(file))
        return dump_proc_file(context, file, path);
    if (context.mounts.own())
        TRY(check_proc_below(context, file));
    if (is_message_queue(file))
        return dump_message_queue(context, file, *reg);
    const bool anywhere = context.mounts.own() && reg->mnt_id() < 0;
    TRY(check_reachable(context.mounts.path(path)));
    if (!anywhere && (file.stat.st_nlink == 0 || !is_there(context.mounts.path(path), file.stat)))
        return dump_remap(context, file, file.id, path);
    // Only what can be mapped as a program is worth the reading.
    if (context.options.check_build_id && S_ISREG(file.stat.st_mode) && file.number < 0)
        write_build_id(build_id_of(file.fd), reg);
    return {};
}

Result<void> validate(const FileOpenContext &context, int fd, const img::reg_file_entry &reg) {
    struct stat now {};
    if (fstat(fd, &now) < 0)
        return base::fail_sys("fstat");
    if (reg.has_mode() && ((now.st_mode ^ reg.mode()) & S_IFMT))
        return base::fail(base::Error(base::ErrorKind::Unsupported,
                                      fmt::format("{} is another kind of file now (mode {:o}, {:o} at the checkpoint)",
                                                  reg.name(), now.st_mode, reg.mode()))
                              .hint("put the file back as it was when the checkpoint was made"));
    if (reg.has_size() && static_cast<uint64_t>(now.st_size) != reg.size())
        return base::fail(
            base::Error(base::ErrorKind::Unsupported,
                        fmt::format("{} has {} bytes now, {} at the checkpoint", reg.name(), now.st_size, reg.size()))
                .hint("put the file back as it was when the checkpoint was made"));
    // What lstat says of the permissions of a link is the file system's choice.
    if (reg.has_mode() && !context.options.skip_mode_check && now.st_mode != reg.mode() && !S_ISLNK(reg.mode()))
        return base::fail(
            base::Error(base::ErrorKind::Unsupported, fmt::format("{} has mode {:o} now, {:o} at the checkpoint",
                                                                  reg.name(), now.st_mode, reg.mode()))
                .hint("change the mode back, or restore with --skip-file-rwx-check"));
    if (!context.options.check_build_id || reg.build_id_size() == 0)
        return {};
    img::reg_file_entry fresh;
    write_build_id(build_id_of(fd), &fresh);
    if (std::equal(fresh.build_id().begin(), fresh.build_id().end(), reg.build_id().begin(), reg.build_id().end()))
        return {};
    return base::fail(
        base::Error(base::ErrorKind::Unsupported, fmt::format("{} is another build than at the checkpoint", reg.name()))
            .hint("install the version that the task was running"));
}

/// Id of the dead task in whose directory in /proc the file lies.
std::optional<uint32_t> dead_task_of(const img::file_entry &entry, const Remaps &remaps) {
    for (auto [it, end] = remaps.equal_range(entry.id()); it != end; ++it)
        if (it->second.remap_type() == img::PROCFS)
            return it->second.remap_id();
    return {};
}

bool is_ghost(const img::file_entry &entry, const Remaps &remaps) {
    auto [begin, end] = remaps.equal_range(entry.id());
    return std::any_of(begin, end, [](auto &remap) { return remap.second.remap_type() == img::GHOST; });
}

bool waits_for_task(const img::file_entry &entry, const ImageFiles &, const Remaps &remaps) {
    return proc_target(entry.reg().name()) && !dead_task_of(entry, remaps);
}

Result<plan::OpRef> open_late(LatePlan &late, const img::file_entry &entry) {
    return open_late_proc_file(late, entry.reg());
}

Result<base::UniqueFd> open_by_path(FileOpenContext &context, const img::file_entry &entry, int flags) {
    const std::string path = TRY(path_to_open(context, entry.id(), entry.reg().name()));
    base::UniqueFd fd = open_kept(path, flags);
    if (fd)
        return fd;
    auto error = base::Error::sys(fmt::format("open {}", path));
    if (errno == ENOENT)
        error.hint("the file was there at the checkpoint: put it back");
    return base::fail(std::move(error));
}

Result<std::string> inherit_key(FileOpenContext &, const img::file_entry &entry) {
    return path_key(entry.reg().name());
}

Result<base::UniqueFd> open_file(FileOpenContext &context, const img::file_entry &entry) {
    const img::reg_file_entry &reg = entry.reg();
    if (reg.ext())
        return base::fail(base::Error(base::ErrorKind::Unsupported, fmt::format("{} is the caller's", reg.name()))
                              .hint(fmt::format("give a descriptor for it: --inherit-fd fd[N]:{}", reg.name())));
    if (auto pid = dead_task_of(entry, context.remaps))
        return open_dead_proc_file(reg, *pid);
    if (reg.extension().has_mqueue())
        return open_message_queue(context, entry);
    // O_TMPFILE stays in a file's flags, and includes O_DIRECTORY.
    const bool temporary = (reg.flags() & O_TMPFILE) == O_TMPFILE;
    const uint32_t never_again =
        O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY | (temporary ? static_cast<uint32_t>(O_TMPFILE) : 0);
    auto flags = static_cast<int>((reg.flags() & ~never_again) | O_CLOEXEC | O_NOCTTY);
    if ((reg.flags() & O_PATH) && S_ISLNK(reg.mode()))
        flags |= O_NOFOLLOW;
    if (is_ghost(entry, context.remaps) && !context.is_held(entry.id()))
        flags |= O_NOATIME; // only to be mapped, and that would change the access time that was just set
    base::UniqueFd fd;
    if (temporary)
        fd = TRY(open_nameless(context, entry.id(), reg.name(), static_cast<uint32_t>(flags)));
    if (!fd)
        fd = TRY(open_by_path(context, entry, flags));
    TRY(validate(context, fd.get(), reg));
    if (reg.flags() & O_PATH)
        return fd;
    if (reg.pos() && lseek(fd.get(), static_cast<off_t>(reg.pos()), SEEK_SET) < 0)
        return base::fail_sys(fmt::format("seek in {}", reg.name()));
    return fd;
}

Result<void> examine(const OpenFile &file, const Examined &known) {
    if (is_proc_file(file))
        examine_proc_file(file, known);
    return {};
}

Result<void> settle(FileSettleContext &, int fd, const img::file_entry &entry) {
    return restore_owner(fd, entry.reg().fown(), entry.reg().flags());
}

Place place(const img::file_entry &file) {
    return {.ipc = file.reg().extension().mqueue().namespace_(),
            .mount = static_cast<uint32_t>(std::max(file.reg().mnt_id(), 0))};
}

} // namespace

extern const FileKind kKind{
    .name = "regular file, directory, plain device",
    .type = img::REG,
    .about = {.saved = "path, position, flags, size and mode (build id for programs); deleted files with their "
                       "contents (`--ghost-limit`), or by another name (`--link-remap`); files of tasks in /proc, dead "
                       "ones too; POSIX message queues with their messages and notifications; locks and leases with "
                       "`--file-locks`",
              .restored = "opened by the path; what is to be deleted is made and removed again; files of tasks in "
                          "/proc when these exist; a message queue that is still there is opened as it is",
              .limits =
                  "the contents of files that have a name are not saved, and size and mode must not have "
                  "changed; other devices are refused; a second description of a file that was made with O_TMPFILE "
                  "loses that bit of F_GETFL; files in /proc of tasks outside of the tree are opened by their paths, "
                  "whoever has the pid then; a message queue with a registered notification is refused where the "
                  "kernel has no type information (BTF)"},
    .matches = matches,
    .dump = dump,
    .take_back = take_back_links,
    .place = place,
    .open = open_file,
    .inherit_key = inherit_key,
    .settle = settle,
    .late = waits_for_task,
    .open_late = open_late,
    .examine = examine};

} // namespace resource::regular
