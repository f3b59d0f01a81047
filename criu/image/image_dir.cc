#include "criu/image/image_dir.hh"

#include "base/listing.hh"
#include "criu/image/file_output.hh"

#include <algorithm>
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

namespace {

/// A file that is not there yet.
base::Result<void> bring(int dir, Supplier *supplier, const std::string &name) {
    const bool there = !supplier || faccessat(dir, name.c_str(), F_OK, 0) == 0 || errno != ENOENT;
    return there ? base::Result<void>() : supplier->bring(name);
}

} // namespace

bool ImageDir::has(const std::string &name) const {
    return bring(dir_.get(), supplier_.get(), name) && faccessat(dir_.get(), name.c_str(), F_OK, 0) == 0;
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
    TRY(bring(dir_.get(), supplier_.get(), name));
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
    return has(image_file_name(kind, id)) || (errno == EACCES && open_file(image_file_name(kind, id)));
}

base::Result<uint64_t> ImageDir::file_size(ImageKind kind, uint64_t id) const {
    struct stat st {};
    std::string name = image_file_name(kind, id);
    TRY(bring(dir_.get(), supplier_.get(), name));
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

base::Error no_inventory(const ImageDir &dir) {
    auto names = base::list_names(dir.fd());
    if (names && std::ranges::find(*names, kUnpublishedInventory) != names->end())
        return base::Error(base::ErrorKind::BadImage,
                           "the checkpoint is unfinished: its dump was killed before the end")
            .hint("dump again: what it left goes then");
    const bool some = names && std::ranges::any_of(*names, [](const std::string &name) {
                          return match_image_name(name).has_value() && !name.starts_with("stats-");
                      });
    if (some)
        return base::Error(base::ErrorKind::BadImage,
                           "the checkpoint is unfinished: there are images, and no inventory.img, which comes last")
            .hint("a dump was killed or is still running, or these are memory that a page server has taken: the images "
                  "of its dump belong here too");
    return base::Error(base::ErrorKind::BadImage, "the directory is no checkpoint: inventory.img is missing")
        .hint("name the directory of the dump with -D; a dump that failed leaves no images");
}

} // namespace image
