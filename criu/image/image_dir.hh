// The images of one checkpoint, read. A file that does not exist is an image without entries. Whatever the layout on
// disk, callers see the current one: credentials, signal actions, timers, limits and queued signals inside core,
// mappings inside mm, every open file as a file_entry (see layout.hh).
#pragma once

#include "base/result.hh"
#include "base/unique_fd.hh"
#include "criu/image/entry_reader.hh"
#include "criu/image/registry.hh"

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace img {
class core_entry;
class file_entry;
class mm_entry;
} // namespace img

namespace image {

/// An entry with the raw bytes that follow it.
template <class M> struct Entry {
    M message;
    std::vector<std::byte> payload;
};

/// An image being read: the reader and the file it reads.
struct OpenImage {
    std::unique_ptr<FileSource> source;
    EntryReader reader;
};

struct PagemapImage; // pagemap.hh
struct GhostImage;   // ghost.hh

/// Where files come from that a directory does not hold yet.
class Supplier {
public:
    Supplier() = default;
    virtual ~Supplier() = default;
    Supplier(const Supplier &) = delete;
    Supplier &operator=(const Supplier &) = delete;
    /// Puts the file of this name into the directory, if there is one; does nothing if it has been asked before.
    virtual base::Result<void> bring(const std::string &name) = 0;
};

class ImageDir {
public:
    /// Works on a duplicate of `dirfd`, which stays the caller's.
    static base::Result<ImageDir> open(int dirfd);

    /// All entries of an image, in the current layout; empty if there is no such file.
    /// Errors: BadImage naming file and offset; Bug if M is not the message of `kind`.
    template <class M> base::Result<std::vector<M>> read(ImageKind kind, uint64_t id = 0) const;
    /// The entry of an image that has at most one. Errors: as read(); BadImage if there are more.
    template <class M> base::Result<std::optional<M>> read_one(ImageKind kind, uint64_t id = 0) const;
    /// Entries with their payloads, both in memory; for ghost files see ghost.hh.
    template <class M> base::Result<std::vector<Entry<M>>> read_with_payload(ImageKind kind, uint64_t id = 0) const;

    /// A pagemap, Pagemap or ShmemPagemap; without entries if there is no such file.
    /// Errors: BadImage if the runs are not ascending, aligned and within the address space.
    base::Result<PagemapImage> read_pagemap(ImageKind kind, uint64_t id) const;
    /// A deleted file and where its contents lie; nothing if there is no such image.
    base::Result<std::optional<GhostImage>> read_ghost(uint64_t id) const;

    /// The file for reading, from its beginning; nothing if it does not exist. Errors: BadImage if it is not a file.
    base::Result<std::optional<base::UniqueFd>> open_raw(ImageKind kind, uint64_t id = 0) const;
    /// A whole file that is no list of entries; empty if it does not exist. Errors: BadImage if it has more than `most`
    /// bytes, or cannot be read whole.
    base::Result<std::string> read_raw(ImageKind kind, uint64_t id, uint64_t most) const;
    bool exists(ImageKind kind, uint64_t id = 0) const;
    /// Bytes of the file; 0 if it does not exist.
    base::Result<uint64_t> file_size(ImageKind kind, uint64_t id = 0) const;
    /// The previous directory of an incremental chain, if there is one.
    base::Result<std::optional<ImageDir>> parent() const;
    int fd() const { return dir_.get(); }
    /// Who opens a file of this directory (by its name) for us where we may not. On failure nothing, and
    /// errno.
    using Fetch = std::function<base::UniqueFd(const std::string &)>;
    void ask(Fetch fetch) { fetch_ = std::move(fetch); }
    /// Before a file is taken for missing, this one is asked for it.
    void supply(std::shared_ptr<Supplier> supplier) { supplier_ = std::move(supplier); }

    /// Exactly what is on disk, entry by entry, without conversion between layouts; nothing if there is no such file.
    base::Result<std::optional<OpenImage>> open_entries(ImageKind kind, uint64_t id) const;
    template <class M> base::Result<std::vector<M>> read_as_stored(ImageKind kind, uint64_t id) const;

private:
    explicit ImageDir(base::UniqueFd dir) : dir_(std::move(dir)) {}
    base::UniqueFd open_file(const std::string &name) const;
    bool has(const std::string &name) const;
    base::UniqueFd dir_;
    Fetch fetch_;
    std::shared_ptr<Supplier> supplier_;
};

/// What to say of a directory without an inventory.
base::Error no_inventory(const ImageDir &dir);

/// Completes what read() found with the images of the split layout. Overloads exist for the messages concerned.
base::Result<void> to_current(const ImageDir &dir, uint64_t id, std::vector<img::core_entry> &cores);
base::Result<void> to_current(const ImageDir &dir, uint64_t id, std::vector<img::mm_entry> &mms);
base::Result<void> to_current(const ImageDir &dir, uint64_t id, std::vector<img::file_entry> &files);
template <class M> base::Result<void> to_current(const ImageDir &, uint64_t, std::vector<M> &) {
    return {};
}

template <class M> base::Result<std::vector<M>> ImageDir::read_as_stored(ImageKind kind, uint64_t id) const {
    std::vector<M> entries;
    auto file = TRY(open_entries(kind, id));
    while (file) {
        M message;
        if (!TRY(file->reader.next(message)))
            break;
        entries.push_back(std::move(message));
    }
    return entries;
}

template <class M> base::Result<std::vector<M>> ImageDir::read(ImageKind kind, uint64_t id) const {
    auto entries = TRY(read_as_stored<M>(kind, id));
    TRY(to_current(*this, id, entries));
    return entries;
}

template <class M> base::Result<std::optional<M>> ImageDir::read_one(ImageKind kind, uint64_t id) const {
    auto entries = TRY(read<M>(kind, id));
    if (entries.empty())
        return std::nullopt;
    if (entries.size() > 1)
        return base::bad_image(image_file_name(kind, id) + ": has " + std::to_string(entries.size()) +
                               " entries, expected one");
    return std::move(entries.front());
}

template <class M> base::Result<std::vector<Entry<M>>> ImageDir::read_with_payload(ImageKind kind, uint64_t id) const {
    std::vector<Entry<M>> entries;
    auto file = TRY(open_entries(kind, id));
    while (file) {
        Entry<M> entry;
        auto place = TRY(file->reader.next(entry.message));
        if (!place)
            break;
        entry.payload = TRY(file->reader.load_payload(*place));
        entries.push_back(std::move(entry));
    }
    return entries;
}

} // namespace image
