#include "criu/pages/image_stream.hh"

#include "base/listing.hh"
#include "criu/image/registry.hh"
#include "criu/kernel/interruption.hh"

#include <algorithm>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

namespace pages {
namespace {

constexpr size_t kPiece = 1u << 20;

std::string inventory() {
    return image::image_file_name(image::ImageKind::Inventory, 0);
}

/// Sent by send_rest(), or not at all.
bool is_late(const std::string &name) {
    const auto image = image::match_image_name(name);
    return name == "parent" || name == inventory() || (image && image->kind == image::ImageKind::TcpStream);
}

/// One file, its holes left out.
Result<void> send_file(ImageStream &stream, int directory, const std::string &name) {
    const base::UniqueFd file(openat(directory, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    struct stat st {};
    if (!file || fstat(file.get(), &st) < 0)
        return base::fail_sys(name);
    if (!S_ISREG(st.st_mode))
        return {};
    std::vector<std::byte> buffer(std::min<uint64_t>(kPiece, static_cast<uint64_t>(st.st_size)));
    for (off_t at = 0; at < st.st_size;) {
        const off_t from = lseek(file.get(), at, SEEK_DATA);
        if (from < 0)
            break; // nothing but a hole
        off_t end = lseek(file.get(), from, SEEK_HOLE);
        for (at = from; at < end;) {
            TRY(kernel::check_interrupted());
            const ssize_t n =
                pread(file.get(), buffer.data(), std::min<size_t>(buffer.size(), static_cast<size_t>(end - at)), at);
            if (n < 0)
                return base::fail_sys(name);
            if (n == 0)
                end = at;
            TRY(stream.write(name, static_cast<uint64_t>(at), std::span(buffer).first(static_cast<size_t>(n))));
            at += n;
        }
    }
    return stream.end_file(name, static_cast<uint64_t>(st.st_size));
}

} // namespace

Result<base::UniqueFd> private_directory() {
    const base::UniqueFd context(fsopen("tmpfs", FSOPEN_CLOEXEC));
    if (!context || fsconfig(context.get(), FSCONFIG_SET_STRING, "mode", "0755", 0) < 0 ||
        fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0)
        return base::fail(std::move(base::Error::sys("a directory in memory for the images of a stream")
                                        .hint("it takes CAP_SYS_ADMIN; without it name a directory with -D")));
    base::UniqueFd mount(
        fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
    if (!mount)
        return base::fail_sys("a directory in memory for the images of a stream");
    base::UniqueFd directory(openat(mount.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    return directory ? Result<base::UniqueFd>(std::move(directory)) : base::fail_sys("a directory in memory");
}

Result<void> send_directory(ImageStream &stream, int directory) {
    for (const std::string &name : TRY(base::list_names(directory)))
        if (!is_late(name) && !stream.has_file(name))
            TRY(send_file(stream, directory, name));
    return {};
}

Result<void> send_rest(ImageStream &stream, int directory) {
    for (const std::string &name : TRY(base::list_names(directory)))
        if (name != inventory() && is_late(name) && name != "parent")
            TRY(send_file(stream, directory, name));
    TRY(send_file(stream, directory, inventory()));
    return stream.finish();
}

} // namespace pages
