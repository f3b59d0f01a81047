// A stream of images, as it is and sealed: whatever comes out of the pipe.

#include "targets.hh"

#include "criu/pages/container_stream.hh"
#include "criu/pages/stream_format.hh"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <unistd.h>

namespace fuzz {
namespace {

class Text final : public pages::stream::Line {
public:
    explicit Text(std::string_view bytes) : bytes_(bytes) {}
    base::Result<void> write(std::span<const std::byte>, std::span<const std::byte>) override { return {}; }
    base::Result<void> read(std::span<std::byte> into) override {
        if (into.size() > bytes_.size())
            return base::bad_image("the end");
        std::memcpy(into.data(), bytes_.data(), into.size());
        bytes_.remove_prefix(into.size());
        return {};
    }

private:
    std::string_view bytes_;
};

/// A folder whose neighbour must stay empty: no name leads out of it.
class Nested {
public:
    Nested() {
        if (!mkdtemp(path_))
            std::abort();
        inner_ = std::filesystem::path(path_) / "images";
        std::filesystem::create_directory(inner_);
        fd_ = open(inner_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    ~Nested() {
        close(fd_);
        const auto outside = std::distance(std::filesystem::directory_iterator(path_), {});
        std::filesystem::remove_all(path_);
        if (outside != 1)
            std::abort();
    }
    Nested(const Nested &) = delete;
    int fd() const { return fd_; }

private:
    char path_[32] = "/dev/shm/criu-fuzz.XXXXXX";
    std::filesystem::path inner_;
    int fd_ = -1;
};

void unpack(std::string_view bytes, std::span<const std::byte> key) {
    const Nested folder;
    Text line(bytes);
    (void)pages::unpack_stream(line, key, folder.fd());
}

void plain_stream(std::string_view bytes) {
    unpack(bytes, {});
}

/// Little of a damaged one gets behind the seal, and nothing may go wrong before it.
void sealed_stream(std::string_view bytes) {
    constexpr std::array<std::byte, 32> kKey{std::byte{7}};
    unpack(bytes, kKey);
}

constexpr std::array kTargets{Target{"stream", plain_stream}, Target{"stream_sealed", sealed_stream}};

} // namespace

std::span<const Target> stream_targets() {
    return kTargets;
}

} // namespace fuzz
