// A directory of images made of the input: everything that the engines and `crit x` read of it must end in values or in
// an error. The input is a sequence of [u8 which file, u16 length, bytes].
#include "core.pb.h"
#include "criu/crit/explore.hh"
#include "criu/image/ghost.hh"
#include "criu/image/image_dir.hh"
#include "criu/image/pagemap.hh"

#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <iterator>
#include <string>
#include <unistd.h>

namespace {

constexpr const char *kFiles[]{
    "pstree.img",       "core-1.img",    "files.img",      "mm-1.img",          "pagemap-1.img", "ids-1.img",
    "fdinfo-1.img",     "fs-1.img",      "reg-files.img",  "pipes.img",         "unixsk.img",    "eventpoll-tfd.img",
    "inotify-wd.img",   "creds-1.img",   "sigacts-1.img",  "itimers-1.img",     "rlimit-1.img",  "vmas-1.img",
    "ghost-file-1.img", "eventpoll.img", "signal-s-1.img", "posix-timers-1.img"};

/// A folder on tmpfs that is emptied for each input.
class Scratch {
public:
    Scratch() {
        char name[] = "/dev/shm/criu-dir-fuzz.XXXXXX";
        path_ = mkdtemp(name);
        fd_ = open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    ~Scratch() {
        close(fd_);
        std::filesystem::remove_all(path_);
    }
    Scratch(const Scratch &) = delete;
    Scratch &operator=(const Scratch &) = delete;
    int fd() const { return fd_; }
    void write_file(const char *name, const uint8_t *data, size_t size) const {
        int file = openat(fd_, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (file < 0 || write(file, data, size) != static_cast<ssize_t>(size))
            abort();
        close(file);
    }

private:
    std::string path_;
    int fd_;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Scratch scratch;
    while (size >= 3) {
        uint16_t length = 0;
        memcpy(&length, data + 1, sizeof length);
        size_t n = std::min<size_t>(length, size - 3);
        scratch.write_file(kFiles[data[0] % std::size(kFiles)], data + 3, n);
        data += 3 + n;
        size -= 3 + n;
    }
    auto dir = image::ImageDir::open(scratch.fd());
    if (!dir)
        abort();
    static_cast<void>(crit::explore_ps(*dir));
    static_cast<void>(crit::explore_fds(*dir));
    static_cast<void>(crit::explore_mems(*dir));
    static_cast<void>(crit::explore_rss(*dir));
    static_cast<void>(dir->read_ghost(1));
    static_cast<void>(dir->read_one<img::core_entry>(image::ImageKind::Core, 1));
    if (auto pagemap = dir->read_pagemap(image::ImageKind::Pagemap, 1))
        static_cast<void>(image::check_pages_file(*dir, image::ImageKind::Pagemap, 1, *pagemap));
    return 0;
}
