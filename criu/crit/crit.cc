#include "criu/crit/crit.hh"

#include "base/guarded.hh"
#include "base/printable.hh"
#include "base/unique_fd.hh"
#include "criu/crit/arguments.hh"
#include "criu/crit/core_file.hh"
#include "criu/crit/explore.hh"
#include "criu/crit/image_json.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <memory>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <vector>

namespace crit {
namespace {

base::Result<void> write_all(int fd, std::string_view bytes, std::string_view name) {
    while (!bytes.empty()) {
        ssize_t n = ::write(fd, bytes.data(), bytes.size());
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return base::fail_sys(std::string(name));
        bytes.remove_prefix(static_cast<size_t>(n));
    }
    return {};
}

base::Result<std::string> read_all(int fd, const std::string &name) {
    std::string bytes;
    while (true) {
        size_t have = bytes.size();
        bytes.resize(have + (have < (64 << 10) ? 64 << 10 : have));
        ssize_t n = ::read(fd, bytes.data() + have, bytes.size() - have);
        if (n < 0 && errno != EINTR)
            return base::fail_sys(name);
        bytes.resize(have + static_cast<size_t>(std::max<ssize_t>(n, 0)));
        if (n == 0)
            return bytes;
    }
}

/// An input: a regular file read as needed, or all the bytes of something else.
struct Input {
    std::string name;
    std::string bytes;
    std::unique_ptr<image::ByteSource> source;
};

base::Result<std::unique_ptr<Input>> open_input(const std::optional<std::string> &path, int standard) {
    auto input = std::make_unique<Input>();
    input->name = path.value_or("standard input");
    base::UniqueFd file;
    if (path) {
        file.reset(open(path->c_str(), O_RDONLY | O_CLOEXEC));
        if (!file)
            return base::fail_sys(*path);
    }
    struct stat st {};
    if (file && fstat(file.get(), &st) == 0 && S_ISREG(st.st_mode)) {
        input->source = std::make_unique<image::FileSource>(std::move(file), static_cast<uint64_t>(st.st_size));
        return input;
    }
    input->bytes = TRY(read_all(file ? file.get() : standard, input->name));
    input->source = std::make_unique<image::MemorySource>(std::as_bytes(std::span(input->bytes)));
    return input;
}

base::Result<void> write_output(const Arguments &args, const Streams &streams, std::string_view bytes) {
    if (!args.out)
        return write_all(streams.out, bytes, "standard output");
    base::UniqueFd file(open(args.out->c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (!file)
        return base::fail_sys(*args.out);
    return write_all(file.get(), bytes, *args.out);
}

base::Result<Json> parse_json(const std::string &text, const std::string &name) {
    try {
        return Json::parse(text);
    } catch (const Json::parse_error &e) { // the only way to learn where
        return base::fail(base::ErrorKind::Usage, fmt::format("{}: {}", name, e.what()));
    }
}

base::Result<void> decode(const Arguments &args, const Streams &streams) {
    auto input = TRY(open_input(args.in, streams.in));
    Json json = TRY(decode_image(*input->source, input->name, args.pretty ? Values::Pretty : Values::Plain,
                                 args.no_payload ? Payloads::Summary : Payloads::Full));
    std::string text = json_text(json, args.pretty ? JsonForm::Pretty : JsonForm::OneLine);
    if (!args.out)
        text += '\n';
    return write_output(args, streams, text);
}

base::Result<void> encode(const Arguments &args, const Streams &streams) {
    std::string name = args.in.value_or("standard input");
    auto input = TRY(open_input(args.in, streams.in));
    std::string text(input->source->size(), '\0');
    TRY_CTX(input->source->read(0, std::as_writable_bytes(std::span(text))), name);
    Json json = TRY(parse_json(text, name));
    return write_output(args, streams, TRY_CTX(encode_image(json), name));
}

base::Result<void> info(const Arguments &args, const Streams &streams) {
    auto input = TRY(open_input(args.in, streams.in));
    Json json = TRY(describe_image(*input->source, input->name));
    return write_output(args, streams, json_text(json, JsonForm::Pretty) + '\n');
}

base::Result<void> explore(const Arguments &args, const Streams &streams) {
    base::UniqueFd fd(open(args.dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd)
        return base::fail_sys(args.dir);
    auto dir = TRY(image::ImageDir::open(fd.get()));
    constexpr base::Result<std::string> (*kExplorers[])(const image::ImageDir &){explore_ps, explore_fds, explore_mems,
                                                                                 explore_rss};
    return write_output(args, streams, TRY_CTX(kExplorers[static_cast<size_t>(args.topic)](dir), args.dir));
}

base::Result<void> core(const Arguments &args) {
    const std::string folder = args.in.value_or(".");
    base::UniqueFd fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd)
        return base::fail_sys(folder);
    return write_cores(TRY(image::ImageDir::open(fd.get())), args.pid, args.out.value_or("."));
}

base::Result<void> run(Arguments args, const Streams &streams) {
    switch (args.command) {
    case Command::Show:
        args.pretty = true;
        return decode(args, streams);
    case Command::Decode:
        return decode(args, streams);
    case Command::Encode:
        return encode(args, streams);
    case Command::Info:
        return info(args, streams);
    case Command::Explore:
        return explore(args, streams);
    case Command::Core:
        return core(args);
    }
    return base::fail(base::ErrorKind::Bug, "unknown command");
}

} // namespace

int run_crit(std::span<const std::string_view> args, Streams streams) {
    auto parsed = parse_arguments(args);
    if (!parsed) {
        const Stop &stop = parsed.error();
        bool written = write_all(stop.status ? streams.err : streams.out, stop.text, "crit").has_value();
        return written ? stop.status : 1;
    }
    auto done = base::guarded([&] { return run(std::move(*parsed), streams); });
    if (done)
        return 0;
    // If standard error cannot be written either, the exit status has to do.
    static_cast<void>(
        write_all(streams.err, fmt::format("crit: {}\n", base::printable(done.error().message())), "crit"));
    return 1;
}

int crit_main(std::span<const std::string> args) {
    std::vector<std::string_view> views(args.begin(), args.end());
    return run_crit(views);
}

} // namespace crit
