// Writes the images of one checkpoint. Nothing exists on disk before the first entry of a file; entries are gathered in
// memory and written in few calls; only a bounded number of descriptors is open at a time. The inventory is written
// last, by finish(), and under another name at first: until it has its own the directory is not a checkpoint, and the
// inventory of an earlier one in the same directory is removed together with the first file that is replaced.
#pragma once

#include "base/id_map.hh"
#include "base/result.hh"
#include "base/unique_fd.hh"
#include "criu/image/layout.hh"
#include "criu/image/registry.hh"
#include "criu/image/scribe.hh"

#include <cstddef>
#include <google/protobuf/message.h>
#include <list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace image {

class ImageDirWriter {
public:
    /// Works on a duplicate of `dirfd`, which stays the caller's. Touches nothing yet.
    static base::Result<ImageDirWriter> open(int dirfd, Layout layout = Layout::Current);

    /// Appends an entry, in the current layout; the split layout is made from it here.
    /// `message` is of the type of the kind (pagemaps: first a pagemap_head). `payload` comes without padding and has
    /// the length that the message says. Ghosts: the contents may be written to raw() instead.
    /// Errors: Bug if message or payload do not fit the kind; System if the file cannot be written.
    base::Result<void> add(ImageKind kind, uint64_t id, const google::protobuf::Message &message,
                           std::span<const std::byte> payload = {});
    /// What messages say of users and groups is translated from now on: callers add what the kernel tells them.
    void set_owners(base::OwnerMaps owners) { owners_ = std::move(owners); }
    const base::OwnerMaps &owners() const { return owners_; }
    /// Puts the unfinished inventory there before the first file: what a killed dump leaves can be told from what a
    /// page server has written into the same directory.
    void mark_unfinished() { marks_ = true; }
    /// finish() has everything reach the disk: the other files, then the inventory, then the directory.
    void set_durable(bool durable) { durable_ = durable; }
    /// The descriptor of a file, everything added before written to it. It stays the writer's, and open until
    /// close_file() or finish(). Created (read-write) if it does not exist yet.
    base::Result<int> raw(ImageKind kind, uint64_t id);
    /// Writes the whole of a file that is no list of entries.
    base::Result<void> write_raw(ImageKind kind, uint64_t id, std::string_view bytes);
    /// Writes out and closes a file; adding to it later goes on at its end.
    base::Result<void> close_file(ImageKind kind, uint64_t id);
    /// Removes a file of ours; adding to it later begins it anew.
    base::Result<void> remove(ImageKind kind, uint64_t id);
    /// Writes out everything but the inventory, and makes sure that `more` bytes would still fit.
    base::Result<void> secure(uint64_t more);
    /// Writes out everything, the inventory last. Nothing may be added afterwards.
    base::Result<void> finish();
    /// Removes every file that was created: a checkpoint that failed leaves nothing.
    void discard();

    /// Bytes handed over so far; those of raw() files count when they are closed.
    uint64_t bytes_written() const { return bytes_; }
    /// Files of an earlier checkpoint that the directory held, and that had to go.
    size_t removed_images() const { return removed_; }
    size_t open_files() const; ///< descriptors held at the moment

private:
    struct Key {
        ImageKind kind;
        uint64_t id;
        auto operator<=>(const Key &) const = default;
    };
    struct File {
        std::string name;
        std::string buffer;
        base::UniqueFd fd;
        bool started = false;  ///< the head has been put into the buffer
        bool created = false;  ///< exists on disk
        bool pinned = false;   ///< its descriptor was handed out
        bool active = false;   ///< holds a buffer or a descriptor, and is in active_
        uint64_t raw_from = 0; ///< size when the descriptor was handed out, and what add() put in since
        std::list<Key>::iterator place;
    };

    explicit ImageDirWriter(base::UniqueFd dir, Layout layout) : dir_(std::move(dir)), layout_(layout) {}
    base::Result<void> add_translated(ImageKind kind, uint64_t id, const google::protobuf::Message &message,
                                      std::span<const std::byte> payload);
    base::Result<void> add_stored(ImageKind kind, uint64_t id, const google::protobuf::Message &message,
                                  std::span<const std::byte> payload);
    base::Result<void> add_split_core(uint64_t id, const google::protobuf::Message &message);
    base::Result<void> add_split_file(uint64_t id, const google::protobuf::Message &message);
    base::Result<File *> use(Key key);
    base::Result<void> make_room();
    base::Result<void> remove_old_images(Key key);
    base::Result<bool> remove_old(const std::string &name);
    base::Result<void> create(Key key, File &file);
    base::Result<void> hand_over(Key key, File &file);
    base::Result<void> await_scribe();
    base::Result<void> reopen(File &file);
    base::Result<void> flush(Key key, File &file);
    base::Result<void> close(Key key, File &file);
    base::Result<void> sync_all() const;
    base::Result<void> publish_inventory();
    void count(File &file, uint64_t bytes);
    base::Result<void> append(Key key, File &file, std::span<const std::byte> bytes);

    base::UniqueFd dir_;
    Layout layout_;
    base::OwnerMaps owners_;
    std::map<Key, File> files_;
    std::list<Key> active_; ///< most recently used first
    uint64_t bytes_ = 0;
    std::unique_ptr<Scribe> scribe_; ///< writes what is complete, once there are many files
    size_t complete_ = 0;            ///< files so far that it could have written
    bool old_images_gone_ = false;
    bool durable_ = false, marks_ = false;
    size_t removed_ = 0;
    bool finished_ = false;
};

} // namespace image
