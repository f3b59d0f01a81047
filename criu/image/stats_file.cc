#include "criu/image/stats_file.hh"

#include "base/unique_fd.hh"
#include "stats.pb.h"

#include <fcntl.h>
#include <string>

namespace image {

base::Result<void> write_statistics_file(int dirfd, const char *name, const img::stats_entry &entry) {
    constexpr uint32_t kService = 0x55105940, kStats = 0x57093306;
    std::string body = entry.SerializeAsString();
    const uint32_t head[3] = {kService, kStats, static_cast<uint32_t>(body.size())};
    std::string file(reinterpret_cast<const char *>(head), sizeof head);
    file += body;
    base::UniqueFd fd(openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!fd || write(fd.get(), file.data(), file.size()) != static_cast<ssize_t>(file.size()))
        return base::fail_sys(std::string("write ") + name);
    return {};
}

} // namespace image
