#include "criu/image/image_dir.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

namespace image {

base::Result<ImageDir> ImageDir::open(int dirfd) {
    base::UniqueFd dir(fcntl(dirfd, F_DUPFD_CLOEXEC, 3));
    if (!dir)
        return base::fail_sys("image directory");
    return ImageDir(std::move(dir));
}

base::UniqueFd ImageDir::open_file(const std::string &name) const {
    // O_NONBLOCK: a FIFO with the name of an image must not hang us.
    base::UniqueFd file(openat(dir_.get(), name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!file && errno == EACCES && fetch_)
        file = fetch_(name);
    return file;
}

base::Result<std::optional<base::UniqueFd>> ImageDir::open_raw(ImageKind kind, uint64_t id) const {
    std::string name = image_file_name(kind, id);
    base::UniqueFd file = open_file(name);
    if (!file && errno == ENOENT)
        return std::nullopt;
    if (!file)
        return base::fail_sys(name);
    struct stat st {};
    if (fstat(file.get(), &st) < 0)
        return base::fail_sys(name);
    if (!S_ISREG(st.st_mode))
        return base::bad_image(name + ": not a regular file");
    return file;
}

base::Result<std::string> ImageDir::read_raw(ImageKind kind, uint64_t id, uint64_t most) const {
    const auto file = TRY(open_raw(kind, id));
    if (!file)
        return std::string();
    struct stat st {};
    const std::string name = image_file_name(kind, id);
    if (fstat(file->get(), &st) < 0)
        return base::fail_sys(name);
    std::string bytes(std::min(static_cast<uint64_t>(st.st_size), most), '\0');
    if (static_cast<uint64_t>(st.st_size) > most ||
        pread(file->get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
        return base::bad_image(name + ": of an impossible size");
    return bytes;
}

bool ImageDir::exists(ImageKind kind, uint64_t id) const {
    return faccessat(dir_.get(), image_file_name(kind, id).c_str(), F_OK, 0) == 0 ||
           (errno == EACCES && open_file(image_file_name(kind, id)));
}

base::Result<uint64_t> ImageDir::file_size(ImageKind kind, uint64_t id) const {
    struct stat st {};
    std::string name = image_file_name(kind, id);
    bool known = fstatat(dir_.get(), name.c_str(), &st, 0) == 0;
    if (!known && errno == EACCES && fetch_) { // we may not even look, but somebody may for us
        const base::UniqueFd file = fetch_(name);
        known = file && fstat(file.get(), &st) == 0;
    }
    if (!known)
        return errno == ENOENT ? base::Result<uint64_t>(0) : base::fail_sys(name);
    return static_cast<uint64_t>(st.st_size);
}

base::Result<std::optional<ImageDir>> ImageDir::parent() const {
    base::UniqueFd dir(openat(dir_.get(), "parent", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (dir)
        return ImageDir(std::move(dir));
    base::Error error = base::Error::sys("the directory that the images build on");
    struct stat link {};
    if (error.code() == ENOENT && fstatat(dir_.get(), "parent", &link, AT_SYMLINK_NOFOLLOW) < 0)
        return std::nullopt;
    return base::fail(
        std::move(error.hint("the directories of a chain have to keep their places relative to each other")));
}

base::Result<std::optional<OpenImage>> ImageDir::open_entries(ImageKind kind, uint64_t id) const {
    auto file = TRY(open_raw(kind, id));
    if (!file)
        return std::nullopt;
    std::string name = image_file_name(kind, id);
    struct stat st {};
    if (fstat(file->get(), &st) < 0)
        return base::fail_sys(name);
    auto source = std::make_unique<FileSource>(std::move(*file), static_cast<uint64_t>(st.st_size));
    auto reader = TRY(EntryReader::open(*source, std::move(name), kind));
    return OpenImage{std::move(source), std::move(reader)};
}

} // namespace image
