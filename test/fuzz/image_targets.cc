// Targets for everything that reads images: one image, a directory of images, the JSON that crit makes images from.
#include "core.pb.h"
#include "criu/crit/explore.hh"
#include "criu/crit/image_json.hh"
#include "criu/image/ghost.hh"
#include "criu/image/image_dir.hh"
#include "criu/image/pagemap.hh"
#include "targets.hh"

#include <array>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <unistd.h>

namespace fuzz {
namespace {

using crit::Payloads;
using crit::Values;

image::MemorySource source_of(std::string_view bytes) {
    return image::MemorySource(std::as_bytes(std::span(bytes)));
}

void must(bool condition) {
    if (!condition)
        std::abort();
}

/// Encoding what was decoded gives an image that decodes to the same.
void check_round_trip(const crit::Json &json) {
    auto bytes = crit::encode_image(json);
    must(bytes.has_value());
    auto source = source_of(*bytes);
    auto again = crit::decode_image(source, "again", Values::Plain, Payloads::Full);
    must(again && *again == json);
}

void image_bytes(std::string_view bytes) {
    auto source = source_of(bytes);
    auto plain = crit::decode_image(source, "input", Values::Plain, Payloads::Full);
    auto pretty = crit::decode_image(source, "input", Values::Pretty, Payloads::Full);
    auto summary = crit::decode_image(source, "input", Values::Pretty, Payloads::Summary);
    must(plain.has_value() == pretty.has_value() && plain.has_value() == summary.has_value());
    if (!plain)
        return;
    check_round_trip(*plain);
    must(crit::encode_image(*plain).value() == crit::encode_image(*pretty).value());
    must(!crit::json_text(*pretty, crit::JsonForm::Pretty).empty());
}

void image_json(std::string_view text) {
    crit::Json json = crit::Json::parse(text, nullptr, false);
    if (json.is_discarded())
        return;
    auto bytes = crit::encode_image(json);
    if (!bytes)
        return;
    auto source = source_of(*bytes);
    must(crit::decode_image(source, "encoded", Values::Pretty, Payloads::Full).has_value());
}

constexpr const char *kFiles[]{
    "pstree.img",       "core-1.img",    "files.img",      "mm-1.img",          "pagemap-1.img", "ids-1.img",
    "fdinfo-1.img",     "fs-1.img",      "reg-files.img",  "pipes.img",         "unixsk.img",    "eventpoll-tfd.img",
    "inotify-wd.img",   "creds-1.img",   "sigacts-1.img",  "itimers-1.img",     "rlimit-1.img",  "vmas-1.img",
    "ghost-file-1.img", "eventpoll.img", "signal-s-1.img", "posix-timers-1.img"};

/// A folder in memory that is emptied with the object.
class Scratch {
public:
    Scratch() {
        must(mkdtemp(path_) != nullptr);
        fd_ = open(path_, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        must(fd_ >= 0);
    }
    ~Scratch() {
        for (const char *name : kFiles)
            unlinkat(fd_, name, 0);
        close(fd_);
        rmdir(path_);
    }
    Scratch(const Scratch &) = delete;
    Scratch &operator=(const Scratch &) = delete;

    int fd() const { return fd_; }
    void put(const char *name, std::string_view bytes) const {
        int file = openat(fd_, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        must(file >= 0 && write(file, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
        close(file);
    }

private:
    char path_[32] = "/dev/shm/criu-fuzz.XXXXXX";
    int fd_ = -1;
};

/// The input is a sequence of [u8 which file, u16 length, bytes].
void image_dir(std::string_view bytes) {
    Scratch scratch;
    while (bytes.size() >= 3) {
        uint16_t length = 0;
        std::memcpy(&length, bytes.data() + 1, sizeof length);
        auto which = static_cast<unsigned char>(bytes[0]) % std::size(kFiles);
        scratch.put(kFiles[which], bytes.substr(3, length));
        bytes.remove_prefix(std::min<size_t>(bytes.size(), 3 + length));
    }
    auto dir = image::ImageDir::open(scratch.fd()).value();
    for (auto explore : {crit::explore_ps, crit::explore_fds, crit::explore_mems, crit::explore_rss})
        (void)explore(dir);
    (void)dir.read_ghost(1);
    (void)dir.read_one<img::core_entry>(image::ImageKind::Core, 1);
    if (auto pagemap = dir.read_pagemap(image::ImageKind::Pagemap, 1))
        (void)image::check_pages_file(dir, image::ImageKind::Pagemap, 1, *pagemap);
}

constexpr std::array kTargets{
    Target{"image", image_bytes},
    Target{"image_dir", image_dir},
    Target{"image_json", image_json},
};

} // namespace

std::span<const Target> image_targets() {
    return kTargets;
}

} // namespace fuzz
