#include "criu/resource/namespace/mounts/archive.hh"

#include "base/unique_fd.hh"
#include "criu/kernel/io.hh"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <functional>
#include <memory>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

namespace resource::mounts {
namespace {

using Writer = std::unique_ptr<archive, int (*)(archive *)>;
using Member = std::unique_ptr<archive_entry, void (*)(archive_entry *)>;

std::unexpected<base::Error> failed(archive *which, const std::string &what) {
    const char *text = archive_error_string(which);
    return base::fail(base::ErrorKind::System, fmt::format("{}: {}", what, text ? text : "unknown error"));
}

/// Runs `body` on a thread whose working directory is `directory`: libarchive takes names, and nobody else's directory
/// may change.
Result<void> in_directory(int directory, const std::function<Result<void>()> &body) {
    Result<void> outcome;
    std::thread worker([&] {
        if (unshare(CLONE_FS) < 0 || fchdir(directory) < 0)
            outcome = base::fail_sys("enter the file system");
        else
            outcome = body();
    });
    worker.join();
    return outcome;
}

Result<void> write_data(archive *from, archive *to, archive_entry *entry) {
    const std::string name = archive_entry_pathname(entry);
    for (;;) {
        const void *block = nullptr;
        size_t size = 0;
        la_int64_t offset = 0;
        const int r = archive_read_data_block(from, &block, &size, &offset);
        if (r == ARCHIVE_EOF)
            return {};
        if (r < ARCHIVE_WARN)
            return failed(from, name);
        if (archive_write_data_block(to, block, size, offset) < 0)
            return failed(to, name);
    }
}

/// The data of a file goes into the archive in one piece: holes that the entry has announced are left out by the
/// writer.
Result<void> copy_data(archive *from, archive *to, archive_entry *entry) {
    const std::string name = archive_entry_pathname(entry);
    std::vector<char> zeroes(64 << 10);
    la_int64_t written = 0;
    for (;;) {
        const void *block = nullptr;
        size_t size = 0;
        la_int64_t offset = 0;
        const int r = archive_read_data_block(from, &block, &size, &offset);
        const la_int64_t until = r == ARCHIVE_EOF ? archive_entry_size(entry) : offset;
        if (r < ARCHIVE_WARN)
            return failed(from, name);
        while (written < until) {
            const auto some = static_cast<size_t>(std::min<la_int64_t>(until - written, 64 << 10));
            if (archive_write_data(to, zeroes.data(), some) < 0)
                return failed(to, name);
            written += static_cast<la_int64_t>(some);
        }
        if (r == ARCHIVE_EOF)
            return {};
        if (size && archive_write_data(to, block, size) < 0)
            return failed(to, name);
        written += static_cast<la_int64_t>(size);
    }
}

Result<void> write_tree(archive *to, archive *disk, const base::OwnerMaps &owners) {
    if (archive_read_disk_open(disk, ".") != ARCHIVE_OK)
        return failed(disk, "open");
    std::unique_ptr<archive_entry_linkresolver, void (*)(archive_entry_linkresolver *)> links(
        archive_entry_linkresolver_new(), archive_entry_linkresolver_free);
    archive_entry_linkresolver_set_strategy(links.get(), archive_format(to));
    for (;;) {
        Member entry(archive_entry_new(), archive_entry_free);
        const int r = archive_read_next_header2(disk, entry.get());
        if (r == ARCHIVE_EOF)
            return {};
        if (r < ARCHIVE_WARN)
            return failed(disk, "read");
        archive_read_disk_descend(disk);
        if (archive_entry_filetype(entry.get()) == AE_IFSOCK)
            continue;
        archive_entry_set_uid(entry.get(), owners.users.inside(static_cast<uint32_t>(archive_entry_uid(entry.get()))));
        archive_entry_set_gid(entry.get(), owners.groups.inside(static_cast<uint32_t>(archive_entry_gid(entry.get()))));
        archive_entry *now = entry.get(), *later = nullptr;
        archive_entry_linkify(links.get(), &now, &later);
        const int head = archive_write_header(to, now);
        if (head < ARCHIVE_WARN)
            return failed(to, archive_entry_pathname(now));
        if (archive_entry_size(now) > 0)
            TRY(copy_data(disk, to, now));
        (void)entry.release();
        archive_entry_free(now);
    }
}

Result<Writer> open_archive(int file) {
    Writer to(archive_write_new(), archive_write_free);
    archive_write_add_filter_gzip(to.get());
    archive_write_set_filter_option(to.get(), "gzip", "compression-level", "1");
    archive_write_set_format_pax_restricted(to.get());
    if (archive_write_open_fd(to.get(), file) != ARCHIVE_OK)
        return failed(to.get(), "the archive");
    return to;
}

} // namespace

Result<void> write_archive(int directory, int file, const base::OwnerMaps &owners) {
    Writer to = TRY(open_archive(file));
    Writer disk(archive_read_disk_new(), archive_read_free);
    archive_read_disk_set_symlink_physical(disk.get());
    archive_read_disk_set_behavior(disk.get(), ARCHIVE_READDISK_NO_TRAVERSE_MOUNTS);
    TRY(in_directory(directory, [&] { return write_tree(to.get(), disk.get(), owners); }));
    return archive_write_close(to.get()) == ARCHIVE_OK ? Result<void>() : failed(to.get(), "the archive");
}

Result<void> write_one(int shown, const std::string &name, int file, const base::OwnerMaps &owners) {
    struct stat st {};
    if (fstat(shown, &st) < 0)
        return base::fail_sys("look at it");
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return base::unsupported("it was deleted, and is neither a file nor a directory");
    Writer to = TRY(open_archive(file));
    Member entry(archive_entry_new(), archive_entry_free);
    archive_entry_copy_stat(entry.get(), &st);
    archive_entry_set_pathname(entry.get(), name.c_str());
    archive_entry_set_nlink(entry.get(), 1);
    archive_entry_set_uid(entry.get(), owners.users.inside(st.st_uid));
    archive_entry_set_gid(entry.get(), owners.groups.inside(st.st_gid));
    if (archive_write_header(to.get(), entry.get()) < ARCHIVE_WARN)
        return failed(to.get(), name);
    if (S_ISREG(st.st_mode)) {
        std::vector<char> block(128 << 10);
        for (ssize_t n = 1; n > 0;) {
            n = read(shown, block.data(), block.size());
            if (n < 0)
                return base::fail_sys("read it");
            if (n > 0 && archive_write_data(to.get(), block.data(), static_cast<size_t>(n)) < 0)
                return failed(to.get(), name);
        }
    }
    return archive_write_close(to.get()) == ARCHIVE_OK ? Result<void>() : failed(to.get(), "the archive");
}

Result<void> read_archive(int file, int directory, base::Log &log) {
    Writer from(archive_read_new(), archive_read_free);
    archive_read_support_filter_gzip(from.get());
    archive_read_support_filter_none(from.get());
    archive_read_support_format_tar(from.get());
    constexpr size_t kBlock = 128 << 10;
    if (archive_read_open_fd(from.get(), file, kBlock) != ARCHIVE_OK)
        return base::bad_image(failed(from.get(), "the archive").error().message());
    Writer disk(archive_write_disk_new(), archive_write_free);
    archive_write_disk_set_options(
        disk.get(), ARCHIVE_EXTRACT_OWNER | ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_ACL |
                        ARCHIVE_EXTRACT_XATTR | ARCHIVE_EXTRACT_SPARSE | ARCHIVE_EXTRACT_SECURE_NODOTDOT |
                        ARCHIVE_EXTRACT_SECURE_SYMLINKS | ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS);
    return in_directory(directory, [&]() -> Result<void> {
        for (archive_entry *entry = nullptr;;) {
            const int r = archive_read_next_header(from.get(), &entry);
            if (r == ARCHIVE_EOF)
                break;
            if (r < ARCHIVE_WARN)
                return base::bad_image(failed(from.get(), "the archive").error().message());
            const std::string name = archive_entry_pathname(entry) ? archive_entry_pathname(entry) : "";
            if (archive_write_header(disk.get(), entry) < ARCHIVE_WARN)
                return failed(disk.get(), name);
            if (archive_entry_size(entry) > 0)
                TRY(write_data(from.get(), disk.get(), entry));
            if (archive_write_finish_entry(disk.get()) < ARCHIVE_OK)
                log.info(fmt::format("mounts: {}: {}", name, archive_error_string(disk.get())));
        }
        return archive_write_close(disk.get()) < ARCHIVE_WARN ? failed(disk.get(), "the archive") : Result<void>();
    });
}

} // namespace resource::mounts
