#include "criu/image/file_output.hh"

#include <fcntl.h>
#include <unistd.h>

namespace image {

base::Result<base::UniqueFd> create_file(int dir, const std::string &name) {
    constexpr int kFlags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    base::UniqueFd fd(openat(dir, name.c_str(), kFlags, 0600));
    if (!fd && errno == EEXIST) {
        if (unlinkat(dir, name.c_str(), 0) < 0)
            return base::fail_sys(name);
        fd.reset(openat(dir, name.c_str(), kFlags, 0600));
    }
    if (!fd)
        return base::fail_sys(name);
    return fd;
}

base::Result<void> write_all(int fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t n = ::write(fd, text.data(), text.size());
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return base::fail_sys("write");
        text.remove_prefix(static_cast<size_t>(n));
    }
    return {};
}

base::Result<void> sync_file(int dir, const std::string &name) {
    const base::UniqueFd fd(openat(dir, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!fd || fsync(fd.get()) < 0)
        return base::fail_sys("write to disk: " + name);
    return {};
}

} // namespace image
