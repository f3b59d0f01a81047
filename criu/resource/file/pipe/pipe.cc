// Pipes. Each end is an open file of its own; what connects them is the inode number, pipe_id. The first end that is
// opened creates the pipe and fills it, any other end is opened through /proc/self/fd, so that each description gets
// its own flags.
#include "criu/resource/file/external.hh"
#include "criu/resource/file/file.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace resource::pipe {
namespace {

bool matches(const OpenFile &file) {
    return S_ISFIFO(file.stat.st_mode) && file.link.starts_with("pipe:[");
}

Result<void> dump(FileDumpContext &context, const OpenFile &file, img::file_entry &entry) {
    img::pipe_entry *pipe = entry.mutable_pipe();
    pipe->set_id(file.id.value);
    pipe->set_pipe_id(static_cast<uint32_t>(file.stat.st_ino));
    pipe->set_flags(file.flags & ~static_cast<uint32_t>(O_CLOEXEC));
    TRY(dump_owner(context, file, pipe->mutable_fown()));
    img::ext_pipe ext;
    TRY(dump_pipe_data(context, file, image::ImageKind::PipesData, &ext));
    if (ext.has_packet_mode())
        *pipe->mutable_ext() = ext;
    return {};
}

/// Boundaries of packets, which only one of a pipe's ends may have.
struct PipePackets {
    bool loaded = false;
    std::map<uint32_t, const img::ext_pipe *> by_pipe;
};

const img::ext_pipe *packets_of(FileOpenContext &context, uint32_t pipe_id) {
    auto &packets = context.states.of<PipePackets>();
    if (!packets.loaded)
        for (auto &[id, file] : context.files)
            if (file.has_pipe() && file.pipe().has_ext())
                packets.by_pipe.emplace(file.pipe().pipe_id(), &file.pipe().ext());
    packets.loaded = true;
    auto found = packets.by_pipe.find(pipe_id);
    return found == packets.by_pipe.end() ? nullptr : found->second;
}

/// Creates the pipe; its two ends wait in the context for the descriptions that they belong to.
Result<void> create(FileOpenContext &context, uint32_t pipe_id) {
    int fd[2];
    const img::ext_pipe *packets = packets_of(context, pipe_id);
    if (pipe2(fd, O_CLOEXEC | O_NONBLOCK | (packets ? O_DIRECT : 0)) < 0)
        return base::fail_sys("pipe");
    FreshPipe &pipe = context.pipes[pipe_id];
    pipe.ends[kReadEnd].reset(fd[0]);
    pipe.ends[kWriteEnd].reset(fd[1]);
    return restore_pipe_data(context, image::ImageKind::PipesData, pipe_id, fd[1], packets);
}

// pipe(2)'s own descriptions lack O_LARGEFILE, which open(2) always sets: one that has it was opened through /proc.
Result<std::string> inherit_key(FileOpenContext &, const img::file_entry &entry) {
    return fmt::format("pipe:[{}]", entry.pipe().pipe_id());
}

Result<base::UniqueFd> open_end(FileOpenContext &context, const img::file_entry &entry) {
    const img::pipe_entry &pipe = entry.pipe();
    if (!context.pipes.contains(pipe.pipe_id()))
        TRY(create(context, pipe.pipe_id()));
    FreshPipe &fresh = context.pipes[pipe.pipe_id()];
    constexpr uint32_t kLargeFile = 0100000;
    const bool writes = (pipe.flags() & O_ACCMODE) == O_WRONLY;
    auto &end = fresh.ends[writes ? kWriteEnd : kReadEnd];
    if ((pipe.flags() & O_ACCMODE) == O_RDWR || (pipe.flags() & kLargeFile) || fresh.taken[writes])
        return reopen_pipe(fresh, pipe.flags());
    fresh.taken[writes] = true;
    base::UniqueFd fd(fcntl(end.get(), F_DUPFD_CLOEXEC, 0));
    if (!fd || fcntl(fd.get(), F_SETFL, static_cast<int>(pipe.flags() & (O_NONBLOCK | O_DIRECT))) < 0)
        return base::fail_sys("set up an end of a pipe");
    return fd;
}

/// The other end of a pipe is often nobody's of the tree: the shell's, a service manager's.
std::string missing(const img::file_entry &entry, const ImageFiles &files) {
    const img::pipe_entry &pipe = entry.pipe();
    const auto access = pipe.flags() & O_ACCMODE;
    const bool has_other = std::ranges::any_of(files, [&](const auto &file) {
        const img::pipe_entry &other = file.second.pipe();
        return file.second.has_pipe() && other.pipe_id() == pipe.pipe_id() && (other.flags() & O_ACCMODE) != access;
    });
    if (has_other || access == O_RDWR)
        return {};
    return access == O_WRONLY
               ? "a pipe whose reader was outside of the tree: nobody reads it now, and the program ends by SIGPIPE "
                 "when it writes"
               : "a pipe whose writer was outside of the tree: nothing comes any more, and the program reads its end";
}

Result<void> settle(FileSettleContext &, int fd, const img::file_entry &entry) {
    return restore_owner(fd, entry.pipe().fown(), entry.pipe().flags());
}

} // namespace

extern const FileKind kKind{
    .name = "pipe",
    .type = img::PIPE,
    .about = {.saved =
                  "both ends, flags, capacity, contents with packet boundaries (O_DIRECT), owner and signal of O_ASYNC",
              .restored = "each end that a task holds; an end that is only outside of the tree stays closed",
              .limits = "data in it that was spliced from files comes back as a copy; a pipe whose other end is "
                        "outside of the tree is cut off from it, except with `--inherit-fd`"},
    .matches = matches,
    .dump = dump,
    .open = open_end,
    .inherit_key = inherit_key,
    .settle = settle,
    .missing = missing};

} // namespace resource::pipe
