#include "criu/image/file_output.hh"
#include "criu/kernel/io.hh"
#include "criu/pages/container_stream.hh"
#include "criu/pages/stream_seal.hh"

#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <set>
#include <unistd.h>

namespace pages {
namespace {

using stream::Header;
using stream::Kind;

class Unpacker {
public:
    Unpacker(stream::Line &line, std::optional<stream::Seal> seal, int directory)
        : line_(line), seal_(std::move(seal)), directory_(directory) {}

    Result<void> run() {
        for (;; records_++) {
            Header header{};
            TRY(line_.read(std::as_writable_bytes(std::span(&header, 1))));
            if (header.zero || header.bytes > stream::kMostBytes + (seal_ ? stream::kTagBytes : 0))
                return wrong("an impossible header");
            const auto bytes = TRY(receive(header));
            if (header.kind == static_cast<uint32_t>(Kind::End))
                return check_end(header, bytes);
            TRY(take(header, bytes));
        }
    }

private:
    struct File {
        std::string name;
        uint64_t end = 0;
        bool ended = false;
    };

    std::unexpected<base::Error> wrong(const std::string &what) const {
        return base::bad_image(fmt::format("the stream of images is damaged: record {}: {}", records_, what));
    }

    /// The bytes of a record, as they were before they were sealed.
    Result<std::span<const std::byte>> receive(const Header &header) {
        stored_.resize(std::max<size_t>(stored_.size(), header.bytes));
        const auto stored = std::span(stored_).first(header.bytes);
        TRY(line_.read(stored));
        if (!seal_)
            return stored;
        if (header.bytes < stream::kTagBytes)
            return wrong("too short");
        const size_t size = header.bytes - stream::kTagBytes;
        plain_.resize(std::max(plain_.size(), size));
        const auto plain = std::span(plain_).first(size);
        TRY(seal_->open(records_, header, stored, plain));
        return plain;
    }

    Result<void> take(const Header &header, std::span<const std::byte> bytes) {
        if (header.kind == static_cast<uint32_t>(Kind::Begin))
            return begin(header, std::string(reinterpret_cast<const char *>(bytes.data()), bytes.size()));
        if (header.file >= files_.size() || files_[header.file].ended)
            return wrong("of no file");
        File &file = files_[header.file];
        if (header.offset < file.end || header.offset > INT64_MAX - stream::kMostBytes)
            return wrong("contents at an impossible place");
        const int fd = TRY(open_file(header.file));
        if (header.kind == static_cast<uint32_t>(Kind::FileEnd)) {
            file.ended = true;
            if (!bytes.empty())
                return wrong("an end with contents");
            return ftruncate(fd, static_cast<off_t>(header.offset)) < 0 ? base::fail_sys(file.name) : Result<void>();
        }
        if (header.kind != static_cast<uint32_t>(Kind::Contents))
            return wrong("of an unknown kind");
        TRY_CTX(kernel::write_at(fd, bytes, header.offset), file.name);
        file.end = header.offset + bytes.size();
        return {};
    }

    Result<void> begin(const Header &header, std::string name) {
        if (header.file != files_.size() || header.file >= stream::kMostFiles || !stream::is_file_name(name) ||
            !names_.insert(name).second)
            return wrong("a file that cannot be");
        files_.push_back({std::move(name)});
        current_ = header.file;
        open_ = TRY(image::create_file(directory_, files_.back().name));
        return {};
    }

    Result<int> open_file(uint32_t number) {
        if (!open_ || number != current_) {
            open_.reset(openat(directory_, files_[number].name.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
            if (!open_)
                return base::fail_sys(files_[number].name);
            current_ = number;
        }
        return open_.get();
    }

    Result<void> check_end(const Header &header, std::span<const std::byte> bytes) const {
        const bool all = std::ranges::all_of(files_, &File::ended);
        if (!bytes.empty() || !all || header.file != files_.size() || header.offset != records_)
            return wrong("it ends with something missing");
        return {};
    }

    stream::Line &line_;
    std::optional<stream::Seal> seal_;
    int directory_;
    std::vector<std::byte> stored_, plain_;
    std::vector<File> files_;
    std::set<std::string> names_;
    uint32_t current_ = 0; ///< number of the file that is open
    base::UniqueFd open_;
    uint64_t records_ = 0;
};

} // namespace

Result<void> unpack_stream(stream::Line &line, std::span<const std::byte> key, int directory) {
    stream::Head head{};
    TRY(line.read(std::as_writable_bytes(std::span(&head, 1))));
    if (std::memcmp(head.magic, stream::kMagic, sizeof head.magic) != 0)
        return base::bad_image("this is no stream of images");
    if (head.version != stream::kVersion || (head.flags & ~stream::kEncrypted))
        return base::unsupported(
            fmt::format("a stream of images of version {} with flags {:#x}", head.version, head.flags));
    if (!(head.flags & stream::kEncrypted) != key.empty())
        return base::fail(base::ErrorKind::Usage,
                          key.empty() ? "the stream of images is encrypted: name its key with --encrypt KEYFILE"
                                      : "--encrypt was given, but the stream of images is not encrypted");
    std::optional<stream::Seal> seal;
    if (!key.empty())
        seal = TRY(stream::Seal::derive(key, head));
    return Unpacker(line, std::move(seal), directory).run();
}

} // namespace pages
