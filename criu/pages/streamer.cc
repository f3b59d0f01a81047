#include "criu/pages/streamer.hh"

#include "base/fd_message.hh"
#include "criu/image/file_output.hh"
#include "criu/pages/stream_io.hh"
#include "img-streamer.pb.h"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <map>
#include <set>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace pages {
namespace {

constexpr uint32_t kMostReply = 64; // a bool, and room for fields that we do not know

struct Pipe {
    base::UniqueFd read, write;
};

Result<Pipe> make_pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return base::fail_sys("pipe");
    Pipe pipe{base::UniqueFd(ends[0]), base::UniqueFd(ends[1])};
    constexpr int kWanted = 1 << 20; // fewer turns; a smaller one does as well
    fcntl(pipe.write.get(), F_SETPIPE_SZ, kWanted);
    return pipe;
}

Result<void> name_file(int socket, const std::string &name) {
    img::img_streamer_request_entry request;
    request.set_filename(name);
    const std::string body = request.SerializeAsString();
    const auto length = static_cast<uint32_t>(body.size());
    TRY_CTX(stream::write_both(socket, std::as_bytes(std::span(&length, 1)), std::as_bytes(std::span(body))),
            "criu-image-streamer");
    return {};
}

Result<void> send_end(int socket, const base::UniqueFd &end) {
    const int number = end.get();
    const char dummy = 0;
    if (base::send_with_fds(socket, &dummy, 1, std::span(&number, 1)) != 1)
        return base::fail_sys("criu-image-streamer");
    return {};
}

class StreamerSink final : public ImageStream {
public:
    explicit StreamerSink(base::UniqueFd socket) : socket_(std::move(socket)) {}

    Result<void> write(const std::string &name, uint64_t offset, std::span<const std::byte> bytes) override {
        Open &file = *TRY(open(name));
        TRY(fill(file, name, offset));
        TRY_CTX(stream::write_both(file.pipe.get(), bytes), name);
        file.at += bytes.size();
        return {};
    }

    Result<void> end_file(const std::string &name, uint64_t size) override {
        TRY(fill(*TRY(open(name)), name, size));
        open_.erase(name);
        ended_.insert(name);
        return {};
    }

    bool has_file(const std::string &name) const override { return ended_.contains(name); }

    Result<void> finish() override {
        socket_.reset();
        return {};
    }

private:
    struct Open {
        base::UniqueFd pipe;
        uint64_t at = 0;
    };

    Result<Open *> open(const std::string &name) {
        const auto [file, fresh] = open_.try_emplace(name);
        if (!fresh)
            return &file->second;
        TRY(name_file(socket_.get(), name));
        Pipe pipe = TRY(make_pipe());
        TRY(send_end(socket_.get(), pipe.read));
        file->second.pipe = std::move(pipe.write);
        return &file->second;
    }

    /// A pipe has no holes.
    static Result<void> fill(Open &file, const std::string &name, uint64_t offset) {
        static constexpr std::byte kZeroes[64u << 10]{};
        if (offset < file.at)
            return base::fail(base::ErrorKind::Bug, name + ": written backwards into a pipe");
        while (file.at < offset) {
            const auto some = std::span(kZeroes).first(std::min<uint64_t>(sizeof kZeroes, offset - file.at));
            TRY_CTX(stream::write_both(file.pipe.get(), some), name);
            file.at += some.size();
        }
        return {};
    }

    base::UniqueFd socket_;
    std::map<std::string, Open> open_;
    std::set<std::string> ended_;
};

/// One process at a time talks, and each file is asked for once: names that the other end does not have are remembered
/// as empty files of another name.
class StreamerSupplier final : public image::Supplier {
public:
    StreamerSupplier(base::UniqueFd socket, base::UniqueFd directory)
        : socket_(std::move(socket)), directory_(std::move(directory)) {}

    Result<void> bring(const std::string &name) override {
        // A lock of an open file: one that is opened here, as the processes of a restore share all others.
        const base::UniqueFd lock(openat(directory_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!lock || flock(lock.get(), LOCK_EX) < 0)
            return base::fail_sys("criu-image-streamer");
        const std::string absent = ".absent." + name;
        for (const std::string &known : {name, absent})
            if (faccessat(directory_.get(), known.c_str(), F_OK, 0) == 0)
                return {};
        TRY_CTX(ask_for(name, absent), "criu-image-streamer: " + name);
        return {};
    }

private:
    Result<void> ask_for(const std::string &name, const std::string &absent) {
        TRY(name_file(socket_.get(), name));
        if (!TRY(receive_reply())) {
            TRY(image::create_file(directory_.get(), absent));
            return {};
        }
        Pipe pipe = TRY(make_pipe());
        TRY(send_end(socket_.get(), pipe.write));
        pipe.write.reset();
        const base::UniqueFd file = TRY(image::create_file(directory_.get(), name));
        std::vector<std::byte> buffer(1u << 20);
        while (const size_t n = TRY(stream::read_some(pipe.read.get(), buffer)))
            TRY(image::write_all(file.get(), {reinterpret_cast<const char *>(buffer.data()), n}));
        return {};
    }

    Result<bool> receive_reply() {
        uint32_t length = 0;
        TRY(stream::read_whole(socket_.get(), std::as_writable_bytes(std::span(&length, 1))));
        if (length > kMostReply)
            return base::bad_image(fmt::format("an answer of {} bytes", length));
        std::string body(length, '\0');
        TRY(stream::read_whole(socket_.get(), std::as_writable_bytes(std::span(body))));
        img::img_streamer_reply_entry reply;
        if (!reply.ParseFromString(body))
            return base::bad_image("an answer that is none");
        return reply.exists();
    }

    base::UniqueFd socket_, directory_;
};

} // namespace

Result<base::UniqueFd> connect_streamer(int directory, const char *name) {
    base::UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const auto end =
        fmt::format_to_n(address.sun_path, sizeof address.sun_path - 1, "/proc/self/fd/{}/{}", directory, name);
    *end.out = '\0';
    if (!socket || connect(socket.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address) < 0)
        return base::fail(std::move(base::Error::sys(fmt::format("--stream: {} in the folder of images", name))
                                        .hint("start criu-image-streamer with the same folder first")));
    return socket;
}

std::unique_ptr<ImageStream> streamer_sink(base::UniqueFd socket) {
    return std::make_unique<StreamerSink>(std::move(socket));
}

Result<std::shared_ptr<image::Supplier>> streamer_supplier(base::UniqueFd socket, int directory) {
    base::UniqueFd copy(fcntl(directory, F_DUPFD_CLOEXEC, 3));
    if (!copy)
        return base::fail_sys("the directory of images");
    return std::make_shared<StreamerSupplier>(std::move(socket), std::move(copy));
}

} // namespace pages
