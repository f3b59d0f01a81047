#include "criu/cli/streams.hh"

#include "criu/kernel/interruption.hh"
#include "criu/pages/container_stream.hh"
#include "criu/pages/stream_seal.hh"
#include "criu/pages/streamer.hh"

#include <fcntl.h>
#include <unistd.h>

namespace cli {
namespace {

std::unexpected<base::Error> usage(std::string text) {
    return base::fail(base::ErrorKind::Usage, std::move(text));
}

base::Result<std::vector<std::byte>> key_of(const Options &options) {
    return options.key_file.empty() ? base::Result<std::vector<std::byte>>()
                                    : pages::stream::read_key(options.key_file);
}

/// Whatever else would be printed or read there goes elsewhere from now on.
base::Result<base::UniqueFd> take_over(int number, int instead) {
    base::UniqueFd taken(fcntl(number, F_DUPFD_CLOEXEC, 3));
    if (!taken || instead < 0 || dup2(instead, number) < 0)
        return base::fail_sys("the stream of images");
    return taken;
}

base::Result<base::UniqueFd> take_output(const Options &options) {
    if (options.log_file == "-")
        return usage("-D - and --log-file - cannot both have standard output");
    if (isatty(STDOUT_FILENO))
        return usage("-D - writes the images to standard output, and that is a terminal");
    base::UniqueFd out = TRY(take_over(STDOUT_FILENO, STDERR_FILENO));
    constexpr int kWanted = 1 << 20; // of a pipe; a smaller one does as well
    fcntl(out.get(), F_SETPIPE_SZ, kWanted);
    return out;
}

/// A stream that keeps its descriptor.
class OwnedStream final : public pages::ImageStream {
public:
    static base::Result<std::shared_ptr<OwnedStream>> open(base::UniqueFd fd, std::span<const std::byte> key) {
        std::shared_ptr<OwnedStream> made(new OwnedStream(std::move(fd)));
        made->stream_ = TRY(pages::container_stream(*made->line_, key));
        return made;
    }
    base::Result<void> write(const std::string &name, uint64_t offset, std::span<const std::byte> bytes) override {
        return stream_->write(name, offset, bytes);
    }
    base::Result<void> end_file(const std::string &name, uint64_t size) override {
        return stream_->end_file(name, size);
    }
    bool has_file(const std::string &name) const override { return stream_->has_file(name); }
    /// The descriptor stays open: that it is closed tells the reader that the tree has ended.
    base::Result<void> finish() override { return stream_->finish(); }

private:
    explicit OwnedStream(base::UniqueFd fd) : fd_(std::move(fd)), line_(pages::stream::fd_line(fd_.get())) {}
    base::UniqueFd fd_;
    std::unique_ptr<pages::stream::Line> line_;
    std::unique_ptr<ImageStream> stream_;
};

/// --stream says all: where the images are, and how.
base::Result<void> check_streamer_alone(const Options &options) {
    return is_stream(options) || !options.key_file.empty()
               ? usage(
                     "--stream is for criu-image-streamer, whose sockets are in the folder of images: not for -D - or "
                     "--encrypt")
               : base::Result<void>();
}

} // namespace

bool is_stream(const Options &options) {
    return options.images_dir == "-" || options.images_file;
}

base::Result<Folder> folder_to_write(const Options &options, engine::Notifier &notifier) {
    Folder folder;
    if (!is_stream(options) && !options.stream)
        return options.key_file.empty() ? base::Result<Folder>(std::move(folder))
                                        : usage("--encrypt is for streams of images: -D -");
    if (options.images_file)
        return usage("-D " + options.images_dir +
                     " is a file, and images are written into a folder, or to standard "
                     "output with -D -");
    if (!options.prev_images_dir.empty())
        return usage("a stream holds one directory of images: it cannot build on --prev-images-dir");
    if (options.stream)
        TRY(check_streamer_alone(options));
    const auto key = TRY(key_of(options));
    folder.directory = TRY(pages::private_directory());
    if (options.stream) {
        TRY(notifier.tell("pre-stream", {}));
        folder.stream =
            pages::streamer_sink(TRY(pages::connect_streamer(options.images_dir_fd, pages::kCaptureSocket)));
        return folder;
    }
    folder.stream = TRY(OwnedStream::open(TRY(take_output(options)), key));
    return folder;
}

base::Result<Folder> folder_to_read(const Options &options, engine::Notifier *notifier) {
    Folder folder;
    const bool streamer = options.stream && notifier;
    if (!is_stream(options) && !streamer)
        return options.key_file.empty() ? base::Result<Folder>(std::move(folder))
                                        : usage("--encrypt is for streams of images: -D - or -D FILE");
    if (streamer && (options.lazy_pages || options.instant))
        return usage("--stream gives each file once, to restore: not to --lazy-pages or --instant");
    if (streamer)
        TRY(check_streamer_alone(options));
    const auto key = TRY(key_of(options));
    folder.directory = TRY(pages::private_directory());
    if (streamer) {
        TRY(notifier->tell("pre-stream", {}));
        folder.supplier = TRY(pages::streamer_supplier(
            TRY(pages::connect_streamer(options.images_dir_fd, pages::kServeSocket)), folder.directory.get()));
        return folder;
    }
    const kernel::HoldInterruption hold;
    const base::UniqueFd nothing(open("/dev/null", O_RDONLY | O_CLOEXEC));
    const base::UniqueFd in = options.images_file
                                  ? base::UniqueFd(fcntl(options.images_file->get(), F_DUPFD_CLOEXEC, 3))
                                  : TRY(take_over(STDIN_FILENO, nothing.get()));
    TRY(pages::unpack_stream(*pages::stream::fd_line(in.get()), key, folder.directory.get()));
    // A dump at the other end of a pipe closes it when its tree has ended: here, the numbers of the tasks are free
    // then.
    std::byte more{};
    if (TRY(pages::stream::read_some(in.get(), std::span(&more, 1))) != 0)
        return base::bad_image("there is something behind the end of the stream of images");
    return folder;
}

} // namespace cli
