// A page server's connection: whatever a peer says, in a directory that has a parent.

#include "targets.hh"

#include "criu/engine/page_server/receiver.hh"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>

namespace fuzz {
namespace {

/// What the peer says lies in memory; the answers go nowhere.
class Script final : public pages::Channel {
public:
    explicit Script(std::string_view bytes) : bytes_(bytes) {}
    pages::Result<void> send(std::span<const std::byte>) override { return {}; }
    pages::Result<size_t> receive_some(std::span<std::byte> into) override {
        const size_t n = std::min(into.size(), bytes_.size());
        std::memcpy(into.data(), bytes_.data(), n);
        bytes_.remove_prefix(n);
        return n;
    }
    pages::Result<void> finish() override { return {}; }
    int fd() const override { return -1; }

private:
    std::string_view bytes_;
};

class Folder {
public:
    Folder() {
        if (!mkdtemp(path_))
            std::abort();
        fd_ = open(path_, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (symlinkat(".", fd_, "parent") < 0)
            std::abort();
    }
    ~Folder() {
        close(fd_);
        std::filesystem::remove_all(path_);
    }
    Folder(const Folder &) = delete;
    int fd() const { return fd_; }

private:
    char path_[32] = "/dev/shm/criu-fuzz.XXXXXX";
    int fd_ = -1;
};

void page_server_connection(std::string_view bytes) {
    const Folder folder;
    Script channel(bytes);
    const auto images = image::ImageDir::open(folder.fd()).value();
    auto writer = image::ImageDirWriter::open(folder.fd()).value();
    if (auto receiver = page_server::Receiver::open(channel, images, writer))
        (void)receiver->run();
}

constexpr std::array kTargets{Target{"page_server", page_server_connection}};

} // namespace

std::span<const Target> page_server_targets() {
    return kTargets;
}

} // namespace fuzz
