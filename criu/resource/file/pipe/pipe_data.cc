// Contents of pipes and FIFOs. tee(2) copies them into a pipe of ours without taking anything out; the same pipe's
// capacity tells whether all of it fitted. In packet mode (O_DIRECT) each buffer is one packet: reading ours back
// yields one packet a call, and the lengths are kept beside the bytes.
#include "criu/resource/file/file.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace resource {
namespace {

struct PipePair {
    base::UniqueFd read, write;
};

Result<PipePair> make_pipe(int flags) {
    int fd[2];
    if (pipe2(fd, O_CLOEXEC | flags) < 0)
        return base::fail_sys("pipe");
    return PipePair{base::UniqueFd(fd[0]), base::UniqueFd(fd[1])};
}

/// A reading end of our own: the description may be the writing end, or blocking.
Result<base::UniqueFd> reading_end(int fd) {
    base::UniqueFd end(::open(fmt::format("/proc/self/fd/{}", fd).c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    if (!end)
        return base::fail_sys("open a pipe for reading");
    return end;
}

struct Contents {
    std::vector<std::byte> bytes;
    std::vector<uint32_t> packets;
};

Result<Contents> drain(int fd, size_t bytes) {
    Contents contents;
    contents.bytes.resize(bytes);
    for (size_t done = 0; done < bytes;) {
        ssize_t n = read(fd, contents.bytes.data() + done, bytes - done);
        if (n <= 0)
            return base::fail_sys(n < 0 ? errno : EIO, "read the contents of a pipe");
        contents.packets.push_back(static_cast<uint32_t>(n));
        done += static_cast<size_t>(n);
    }
    return contents;
}

Result<Contents> peek(const OpenFile &file, int capacity) {
    auto end = TRY(reading_end(file.fd));
    int bytes = 0;
    if (ioctl(end.get(), FIONREAD, &bytes) < 0)
        return base::fail_sys("FIONREAD of a pipe");
    if (bytes == 0)
        return Contents{};
    auto copy = TRY(make_pipe(O_NONBLOCK));
    if (fcntl(copy.write.get(), F_SETPIPE_SZ, capacity) < 0)
        return base::fail_sys(fmt::format("make a pipe of {} bytes", capacity));
    ssize_t n = tee(end.get(), copy.write.get(), static_cast<size_t>(bytes), SPLICE_F_NONBLOCK);
    if (n != bytes)
        return base::fail_sys(n < 0 ? errno : EIO, "copy the contents of a pipe");
    return drain(copy.read.get(), static_cast<size_t>(bytes));
}

} // namespace

Result<void> dump_pipe_data(FileDumpContext &context, const OpenFile &file, image::ImageKind kind, img::ext_pipe *ext) {
    const bool packets = file.flags & O_DIRECT;
    if (!context.pipes_done.insert(file.stat.st_ino).second)
        return {};
    int capacity = fcntl(file.fd, F_GETPIPE_SZ);
    if (capacity < 0)
        return base::fail_sys("F_GETPIPE_SZ");
    Contents contents = TRY(peek(file, capacity));
    constexpr int kDefaultCapacity = 65536;
    if (contents.bytes.empty() && capacity == kDefaultCapacity)
        return {};
    img::pipe_data_entry entry;
    entry.set_pipe_id(static_cast<uint32_t>(file.stat.st_ino));
    entry.set_bytes(static_cast<uint32_t>(contents.bytes.size()));
    entry.set_size(static_cast<uint32_t>(capacity));
    // Written in packets, whatever the flags of this end.
    const bool several = contents.packets.size() > 1;
    if ((packets || several) && ext && !contents.packets.empty()) {
        ext->set_packet_mode(true);
        for (uint32_t length : contents.packets)
            ext->add_packet_lengths(length);
    }
    return context.images.add(kind, 0, entry, contents.bytes);
}

Result<base::UniqueFd> reopen_pipe(const FreshPipe &pipe, uint32_t flags) {
    // O_DIRECT is refused by open(2) for pipes, and is what fcntl(2) can set.
    base::UniqueFd fd(::open(fmt::format("/proc/self/fd/{}", pipe.ends[kReadEnd].get()).c_str(),
                             static_cast<int>(flags & (O_ACCMODE | O_NONBLOCK)) | O_CLOEXEC));
    if (!fd || fcntl(fd.get(), F_SETFL, static_cast<int>(flags & (O_NONBLOCK | O_DIRECT))) < 0)
        return base::fail_sys("open an end of a pipe");
    return fd;
}

Result<void> restore_pipe_data(FileOpenContext &context, image::ImageKind kind, uint64_t pipe_id, int fd,
                               const img::ext_pipe *ext) {
    for (auto &[entry, bytes] : TRY(context.images.read_with_payload<img::pipe_data_entry>(kind))) {
        if (entry.pipe_id() != pipe_id)
            continue;
        if (entry.has_size() && entry.size() && fcntl(fd, F_SETPIPE_SZ, entry.size()) < 0)
            return base::fail(std::move(base::Error::sys(fmt::format("make a pipe of {} bytes", entry.size()))
                                            .hint("raise /proc/sys/fs/pipe-max-size")));
        std::vector<uint32_t> lengths{static_cast<uint32_t>(bytes.size())};
        if (ext && ext->packet_mode())
            lengths.assign(ext->packet_lengths().begin(), ext->packet_lengths().end());
        size_t done = 0;
        for (uint32_t length : lengths) {
            if (length > bytes.size() - done)
                return base::bad_image("a pipe's packets are longer than its contents");
            const ssize_t n = length ? write(fd, bytes.data() + done, length) : 0;
            if (n < 0)
                return base::fail_sys(fmt::format("fill pipe {}", pipe_id));
            if (n < static_cast<ssize_t>(length))
                return base::bad_image(fmt::format("pipe {} holds more than it has room for", pipe_id));
            done += length;
        }
    }
    return {};
}

} // namespace resource
